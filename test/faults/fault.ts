/** One fault: what is done, to which profile, and by when every exchange that it hits is over. */
import type { Profile } from "../real/bootstrap.ts";
import type { StackOptions } from "../real/stack.ts";
import type { Either, Rig } from "./rig.ts";

export type Fault = {
  /** As it stands in docs/faults.md. */
  readonly name: string;
  readonly limitMs: number;
  /** Who keeps the bound. */
  readonly by: string;
  /** "core": in every run of scripts/test; "sample": there under envoy.yaml; "full": with --full alone. */
  readonly tier: "core" | "sample" | "full";
  /** Both streaming profiles when left out. */
  readonly profiles?: readonly Profile[];
  /** A stack of its own; otherwise that of the profile is used on. */
  readonly stack?: Omit<StackOptions, "profile" | "policy">;
  /** The log lies on a disk of 3 MiB. */
  readonly disk?: "small";
  /** A policy of its own, below test/faults/. */
  readonly policy?: string;
  readonly either?: Either;
  /** Leaves Limen running, and everything that was asked about to end. */
  run(rig: Rig): Promise<void>;
};
