# Sourced by the other scripts: puts a Node.js that Limen can run on first in PATH.
# Node 24.15 or newer is used as it is; an older one fetches the pinned 24.x from the npm registry
# (package node-linux-*, which carries the headers that native modules compile against) into a
# cache outside the work tree. Needs npm once, then nothing.

LIMEN_NODE_VERSION=24.21.0
LIMEN_CACHE="${LIMEN_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/limen}"

limen_say() { printf 'limen: %s\n' "$*" >&2; }
limen_need() { # command, what it is for and how to get it
  command -v "$1" >/dev/null 2>&1 || { limen_say "$1 is missing: $2"; exit 3; }
}

limen_node_is_new() {
  command -v node >/dev/null 2>&1 && node -e '
    const [major, minor] = process.versions.node.split(".").map(Number);
    process.exit(major > 24 || (major === 24 && minor >= 15) ? 0 : 1)' 2>/dev/null
}

limen_use_node() {
  limen_node_is_new && return 0
  case "$(uname -s)-$(uname -m)" in
    Linux-x86_64) limen_arch=x64 ;;
    Linux-aarch64) limen_arch=arm64 ;;
    *) limen_say "no pinned Node for $(uname -s) $(uname -m): install Node 24.15 or newer"; exit 3 ;;
  esac
  limen_node="$LIMEN_CACHE/node-$LIMEN_NODE_VERSION-$limen_arch"
  if [ ! -x "$limen_node/bin/node" ]; then
    limen_need npm "it fetches Node $LIMEN_NODE_VERSION; install npm, or Node 24.15 or newer"
    limen_say "fetching Node $LIMEN_NODE_VERSION"
    limen_tmp="$LIMEN_CACHE/.node.$$"
    rm -rf "$limen_tmp" && mkdir -p "$limen_tmp"
    (cd "$limen_tmp" && npm pack --silent "node-linux-$limen_arch@$LIMEN_NODE_VERSION" >/dev/null && tar xzf ./*.tgz) ||
      { rm -rf "$limen_tmp"; limen_say "cannot fetch node-linux-$limen_arch@$LIMEN_NODE_VERSION from the npm registry: check the network, or install Node 24.15 or newer"; exit 3; }
    # Two runs at once: the first rename wins, the other throws its copy away.
    mv "$limen_tmp/package" "$limen_node" 2>/dev/null || [ -x "$limen_node/bin/node" ]
    rm -rf "$limen_tmp"
  fi
  PATH="$limen_node/bin:$PATH"
  npm_config_nodedir="$limen_node"
  export PATH npm_config_nodedir
}
