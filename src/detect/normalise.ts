/**
 * The readings of a text that rules are applied to: the text as a model takes it in (`plain`), and what is
 * hidden or encoded in it. Bounded: decodings of decodings end at depth 3, and what is decoded at four times the
 * input. The text itself is read by every decoder, whatever the others cost.
 */
import { atOnce, type Steps } from "../core/steps.ts";
import { DECODERS } from "./decode.ts";
import type { Decoder } from "./disguise/decoder.ts";
import { foldInSteps } from "./fold.ts";
import { patternSet, Subject } from "./re2.ts";
import { identity, standsFor, through, type View } from "./view.ts";

const DEPTH = 3;
const WORK_FACTOR = 4;
/** So that a short text is not denied its decoding. */
const WORK_MINIMUM = 4_096;

export type Readings = { readonly plain: View; readonly hidden: readonly View[] };

const patterns = DECODERS.map(({ trigger }) => trigger).filter((one) => typeof one === "string");
const triggers = patternSet(patterns);

/** A text, and whether a decoder's trigger stands in it: for all patterns one pass. */
type Sought = { readonly subject: Subject; readonly isAwake: (decoder: Decoder) => boolean };

function soughtIn(text: string): Sought {
  const subject = new Subject(text);
  const found = new Set(triggers.matching(subject).map((index) => patterns[index]));
  const isAwake = ({ trigger }: Decoder): boolean =>
    typeof trigger === "string" ? found.has(trigger) : trigger(subject);
  return { subject, isAwake };
}

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

/** A text to be decoded: as it came, and with its look-alike characters read as plain ones. */
type Layer = { readonly source: View; readonly folded: View; readonly depth: number };

/** The decoders that may find something in a layer, each with what it reads. */
function* awake({ source, folded }: Layer): Iterable<readonly [Decoder, View, Subject]> {
  const inSource = soughtIn(source.text);
  for (const decoder of DECODERS) {
    const { reads } = decoder;
    if (reads === "source" && inSource.isAwake(decoder)) yield [decoder, source, inSource.subject];
  }
  const inFolded = folded.text === source.text ? inSource : soughtIn(folded.text);
  for (const decoder of DECODERS) {
    const { reads } = decoder;
    if (reads === "folded" && inFolded.isAwake(decoder)) yield [decoder, folded, inFolded.subject];
  }
}

export const readingsOf = (text: string): Readings => atOnce(readingsInSteps(text));

export function* readingsInSteps(text: string): Steps<Readings> {
  const plain = yield* foldInSteps(text);
  const hidden: View[] = [];
  let work = Math.max(WORK_MINIMUM, text.length * WORK_FACTOR);
  const queue: Layer[] = [{ source: identity(text), folded: plain, depth: 0 }];
  for (let next = queue.shift(); next !== undefined; next = queue.shift()) {
    const { depth } = next;
    // Whoever fills the text for one decoder does not keep it from the next.
    const isOver = (): boolean => depth > 0 && work < 0;
    for (const [decoder, view, subject] of awake(next)) {
      if (depth > 0) work -= view.text.length;
      if (isOver()) return { plain, hidden };
      yield;
      for (const piece of decoder.decode(subject)) {
        yield;
        if (piece === undefined) continue;
        if (decoder.yields === "encoded" && !isLanguage(piece.text)) continue;
        work -= piece.text.length;
        if (isOver()) return { plain, hidden };
        const source = through(view, standsFor(piece.text, piece.source));
        const folded = through(source, yield* foldInSteps(source.text));
        hidden.push(folded);
        if (depth + 1 < DEPTH) queue.push({ source, folded, depth: depth + 1 });
      }
    }
  }
  return { plain, hidden };
}
