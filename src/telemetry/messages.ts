/**
 * Every message Limen can log. Keys are for machines and never change; the text is for people. Apart from
 * `log.ts` because the watchdog's thread says one of them without a logger.
 */
export type Row = {
  readonly level: "info" | "warn" | "error";
  readonly text: string;
  /** What a call can cause: traffic could fill the disk with it, so it is said once a second and counted. */
  readonly perCall?: true;
};

export const MESSAGES = {
  service_started: { level: "info", text: "listening" },
  service_draining: {
    level: "info",
    text: "draining: open exchanges finish, new ones are refused",
  },
  service_stopped: { level: "info", text: "stopped" },
  default_policy: { level: "warn", text: "no policy is configured, the built-in one is in force" },
  detector_off: {
    level: "warn",
    text: "the learned detector is switched off: injections are looked for by rules alone",
  },
  detector_thread_died: {
    level: "warn",
    text: "a thread of the learned detector died, or could not be started again: it is tried until it runs",
    // A text may be what it dies of.
    perCall: true,
  },
  policy_swapped: { level: "info", text: "policy set swapped" },
  policy_reload_failed: { level: "warn", text: "policy reload failed, the last good set stays" },
  few_open_files: {
    level: "warn",
    text: "few files may be open: connections can leave none for the log (ulimit -n 4096 or more)",
  },
  key_generated: {
    level: "warn",
    text: "a new key signs the audit log: keep vkey, by which others verify it, and a copy of the file",
  },
  key_exposed: {
    level: "warn",
    text: "every user of this machine may read a private key: take the rights of others (mode 0640 or less)",
  },
  audit_recovered: {
    level: "warn",
    text: "the audit log was not closed, what was durable is kept",
  },
  audit_unwritable: { level: "error", text: "audit log not writable, exchanges fail closed" },
  peer_not_listed: {
    level: "warn",
    text: "a caller was refused: no name of its certificate is in peers",
    perCall: true,
  },
  tls_handshake_failed: {
    level: "warn",
    text: "a caller was refused: no TLS, or no certificate of a trusted authority",
    perCall: true,
  },
  tls_swapped: { level: "info", text: "certificate swapped" },
  tls_reload_failed: {
    level: "warn",
    text: "certificate files cannot serve, the last good ones stay",
  },
  call_late: {
    level: "warn",
    text: "a call had no verdict in time, it was closed",
    perCall: true,
  },
  call_failed: {
    level: "error",
    text: "a call failed by a defect of ours, it was closed",
    perCall: true,
  },
  peer_protocol_error: { level: "warn", text: "the peer broke the protocol", perCall: true },
  event_loop_stalled: { level: "error", text: "the event loop is stuck, the process ends itself" },
} as const satisfies Record<string, Row>;
export type Message = keyof typeof MESSAGES;
