# The filter service alone: no npm packages of the tests, no compiler, no root, nothing to write to
# but /var/lib/limen (audit log). Runs with a read-only root file system and without capabilities.

FROM node:24-slim AS packages
# re2 is compiled here; the compiler stays behind.
RUN apt-get update \
    && apt-get install -y --no-install-recommends g++ make python3 \
    && rm -rf /var/lib/apt/lists/*
WORKDIR /opt/limen
COPY package.json package-lock.json .npmrc ./
# The headers of this Node lie beside it: node-gyp must not fetch them from elsewhere. Of re2 only the
# compiled module is needed, not its 20 MB of sources and objects; of onnxruntime-node what runs here, not
# 245 MB for other machines, nor what its install script would fetch for graphics cards.
RUN npm_config_nodedir=/usr/local ONNXRUNTIME_NODE_INSTALL=skip npm ci --omit=dev \
    && find node_modules/onnxruntime-node/bin/napi-v6 -mindepth 2 -maxdepth 2 \
        ! -path "*/linux/$(node -p process.arch)" -exec rm -rf {} + \
    && cd node_modules/re2 \
    && mv build/Release/re2.node /tmp/re2.node \
    && rm -rf build vendor lib \
    && mkdir -p build/Release \
    && mv /tmp/re2.node build/Release/re2.node

FROM node:24-slim
ENV NODE_ENV=production
# Made here with their owner, so that a volume mounted over them starts with it.
RUN install -d -o node -g node -m 0750 /var/lib/limen /run/limen
WORKDIR /opt/limen
COPY --from=packages /opt/limen/node_modules node_modules
COPY package.json ./
COPY proto proto
COPY models models
COPY src src
# What `serve` reads: replace the policy, or mount a folder over policy.d.
COPY envoy/limen.yaml /etc/limen/limen.yaml
COPY src/policy/default.yaml /etc/limen/policy.d/policy.yaml
# By number: Kubernetes cannot tell from a name that it is not root.
USER 1000:1000
VOLUME /var/lib/limen
# gRPC for Envoy, and the admin port; both on loopback unless limen.yaml says otherwise.
EXPOSE 9002 9003
HEALTHCHECK --interval=5s --timeout=2s --start-period=10s \
    CMD ["node", "-e", "fetch('http://127.0.0.1:9003/readyz').then((r) => process.exit(r.ok ? 0 : 1), () => process.exit(1))"]
ENTRYPOINT ["node", "--max-semi-space-size=16", "--disable-sigusr1", "/opt/limen/src/main.ts"]
CMD ["serve", "-c", "/etc/limen/limen.yaml"]
