# Sourced by the other scripts: puts a Node.js that Limen can run on first in PATH.
# Node 24.15 or newer is used as it is; an older one fetches the pinned 24.x from the npm registry
# (package node-linux-*, which carries the headers that native modules compile against) into a
# cache outside the work tree. Needs npm once, then nothing.

LIMEN_NODE_VERSION=24.21.0
# A service may run without HOME; never in a folder that others can make first, such as one in /tmp.
LIMEN_CACHE="${LIMEN_CACHE:-${XDG_CACHE_HOME:-${HOME:-$(getent passwd "$(id -u)" | cut -d: -f6)}/.cache}/limen}"

limen_say() { printf 'limen: %s\n' "$*" >&2; }
limen_need() { # command, what it is for and how to get it
  command -v "$1" >/dev/null 2>&1 || { limen_say "$1 is missing: $2"; exit 3; }
}

# Two runs at once make the same thing: the first rename wins, the other's copy is thrown away.
# -T, because without it a directory would be moved into the one that is already there.
limen_publish() { mv -T "$1" "$2" 2>/dev/null || [ -e "$2" ]; }

limen_node_is_new() {
  limen_v=$(node -v 2>/dev/null) || return 1
  limen_v=${limen_v#v}
  limen_minor=${limen_v#*.}
  [ "${limen_v%%.*}" -gt 24 ] || { [ "${limen_v%%.*}" -eq 24 ] && [ "${limen_minor%%.*}" -ge 15 ]; }
}

limen_fetch_node() { # architecture in npm's words, directory to make
  case "$1" in
    x64) limen_sum=61ecf27ad70afee991b671c28561eb497028294a67d132f9bbaac9ad73f81d3b ;;
    arm64) limen_sum=fba3076c16d21e5d814577436bdcb782b9b66bed09c6fa8278298e8933288bbb ;;
  esac
  limen_need npm "it fetches Node $LIMEN_NODE_VERSION; install npm, or Node 24.15 or newer"
  limen_say "fetching Node $LIMEN_NODE_VERSION"
  if ! mkdir -p "$LIMEN_CACHE" || ! limen_tmp=$(mktemp -d "$LIMEN_CACHE/.node.XXXXXX"); then
    limen_say "cannot write into $LIMEN_CACHE: set LIMEN_CACHE to a folder of this user, or install Node 24.15 or newer"
    exit 3
  fi
  if (cd "$limen_tmp" &&
    npm pack --silent "node-linux-$1@$LIMEN_NODE_VERSION" >/dev/null &&
    printf '%s  node-linux-%s-%s.tgz\n' "$limen_sum" "$1" "$LIMEN_NODE_VERSION" | sha256sum -c - >/dev/null &&
    tar xzf ./*.tgz) && limen_publish "$limen_tmp/package" "$2"; then
    rm -rf "$limen_tmp"
  else
    rm -rf "$limen_tmp"
    limen_say "cannot fetch node-linux-$1@$LIMEN_NODE_VERSION from the npm registry: check the network, or install Node 24.15 or newer"
    exit 3
  fi
}

limen_use_node() {
  if limen_node_is_new; then
    limen_node=$(readlink -f "$(command -v node)")
    limen_node=${limen_node%/bin/*}
  else
    case "$(uname -s)-$(uname -m)" in
      Linux-x86_64) limen_arch=x64 ;;
      Linux-aarch64) limen_arch=arm64 ;;
      *) limen_say "no pinned Node for $(uname -s) $(uname -m): install Node 24.15 or newer"; exit 3 ;;
    esac
    limen_node="$LIMEN_CACHE/node-$LIMEN_NODE_VERSION-$limen_arch"
    [ -x "$limen_node/bin/node" ] || limen_fetch_node "$limen_arch" "$limen_node"
    PATH="$limen_node/bin:$PATH"
    export PATH
  fi
  # Headers that lie beside the binary: otherwise node-gyp would fetch them from a host of its own.
  if [ -f "$limen_node/include/node/node.h" ]; then
    npm_config_nodedir="$limen_node"
    export npm_config_nodedir
  fi
}
