/** Every fault, in the order of docs/faults.md. */
import type { Profile } from "../real/bootstrap.ts";
import type { Fault } from "./fault.ts";
import { LIMIT_FAULTS } from "./limit-faults.ts";
import { PROCESS_FAULTS } from "./process-faults.ts";
import { TRAFFIC_FAULTS } from "./traffic-faults.ts";

const FAULTS: readonly Fault[] = [...PROCESS_FAULTS, ...TRAFFIC_FAULTS, ...LIMIT_FAULTS];
export const PROFILES: readonly Profile[] = ["envoy", "strict-stream", "ext-authz"];
const STREAMING: readonly Profile[] = ["envoy", "strict-stream"];

export const faultsOf = (profile: Profile): readonly Fault[] =>
  FAULTS.filter(({ profiles = STREAMING }) => profiles.includes(profile));

/** The keys of the table, in order. */
export const ORDER: readonly string[] = PROFILES.flatMap((profile) =>
  faultsOf(profile).map(({ name }) => `${profile} ${name}`),
);
