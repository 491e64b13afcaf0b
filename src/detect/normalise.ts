/**
 * The readings of a text that rules are applied to: the text as a model takes it in (`plain`), and what is
 * hidden or encoded in it. Bounded: decodings of decodings end at depth 3, and what is decoded at four times the
 * input. The text itself is read by every decoder, whatever the others cost.
 */
import { atOnce, type Steps } from "../core/steps.ts";
import { DECODERS } from "./decode.ts";
import { foldInSteps } from "./fold.ts";
import { patternSet, Subject } from "./re2.ts";
import { identity, standsFor, through, type View } from "./view.ts";

const DEPTH = 3;
const WORK_FACTOR = 4;
/** So that a short text is not denied its decoding. */
const WORK_MINIMUM = 4_096;

export type Readings = { readonly plain: View; readonly hidden: readonly View[] };

const triggers = patternSet(DECODERS.map(({ trigger }) => trigger));
const LANGUAGE = { letters: 0.6, printable: 0.9, minimum: 6 };

/** From here on a text is language if one stretch of it is: what stands before an order says nothing of it. */
const LONG = 400;
const STRETCH = 32;

function isLanguage(text: string): boolean {
  if (text.length <= LONG) return isLanguageAt(text);
  for (let at = 0; at + STRETCH <= text.length; at += STRETCH / 2) {
    if (isLanguageAt(text.slice(at, at + STRETCH))) return true;
  }
  return false;
}

/** Random bytes rarely are UTF-8, and what is by chance is not made of letters. */
function isLanguageAt(sample: string): boolean {
  let letters = 0;
  let printable = 0;
  for (let i = 0; i < sample.length; i += 1) {
    const unit = sample.charCodeAt(i);
    if (unit >= 0x20 || unit === 0x0a || unit === 0x0d || unit === 0x09) printable += 1;
    if ((unit | 0x20) >= 0x61 && (unit | 0x20) <= 0x7a) letters += 1;
    else if (unit === 0x20 || unit >= 0xc0) letters += 1;
  }
  const { length } = sample;
  return (
    length >= LANGUAGE.minimum &&
    printable >= length * LANGUAGE.printable &&
    letters >= length * LANGUAGE.letters
  );
}

export const readingsOf = (text: string): Readings => atOnce(readingsInSteps(text));

export function* readingsInSteps(text: string): Steps<Readings> {
  const subject = new Subject(text);
  const ascii = subject.bytes.length === text.length;
  const plain = ascii ? identity(text) : yield* foldInSteps(text);
  const hidden: View[] = [];
  let work = Math.max(WORK_MINIMUM, text.length * WORK_FACTOR);
  const queue = [{ view: identity(text), subject, depth: 0 }];
  for (let next = queue.shift(); next !== undefined; next = queue.shift()) {
    const { view, depth } = next;
    for (const index of triggers.matching(next.subject)) {
      const decoder = DECODERS[index];
      if (decoder === undefined) continue;
      if (depth > 0) work -= view.text.length;
      if (work < 0) return { plain, hidden };
      yield;
      for (const piece of decoder.decode(next.subject)) {
        yield;
        if (decoder.yields === "encoded" && !isLanguage(piece.text)) continue;
        work -= piece.text.length;
        if (work < 0) return { plain, hidden };
        const inner = through(view, standsFor(piece.text, piece.source));
        hidden.push(through(inner, yield* foldInSteps(inner.text)));
        if (depth + 1 < DEPTH)
          queue.push({ view: inner, subject: new Subject(inner.text), depth: depth + 1 });
      }
    }
  }
  return { plain, hidden };
}
