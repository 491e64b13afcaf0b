/** The detectors of personal data, by the entity that a policy names. */
import type { PiiEntity } from "../../core/settings.ts";
import type { Detector } from "../detector.ts";
import { creditCard } from "./credit-card.ts";
import { email } from "./email.ts";
import { iban } from "./iban.ts";
import { usSsn } from "./us-ssn.ts";

export const PII: Readonly<Record<PiiEntity, Detector>> = {
  credit_card: creditCard,
  iban,
  email,
  us_ssn: usSsn,
};
