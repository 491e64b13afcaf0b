/** Texts of so many pieces, no window like another: what the detector has read once it does not read again. */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { Tokenizer } from "../../src/detect/pieces/tokenizer.ts";
import { parseVocabulary } from "../../src/detect/pieces/vocabulary.ts";

/** What people write to a model. */
const CHAT = [
  "We want to take the narrow boat up to the basin at the weekend and have never worked a lock before. My brother says " +
    "that both gates can stand open at the same time, which I find hard to believe. How long does a chamber of this " +
    "size take to fill when the water above is low? Could you explain it for a child of nine, and add what she can " +
    "watch from the towpath?",
  "I am writing a short talk about the canal for the village school. It should have a beginning, three parts and an " +
    "end, and not be longer than ten minutes. The children know the swing bridge and the boatyard, but hardly any of " +
    "them has been on a boat. In the first part I would like to tell why the canal was dug at all, and who paid for it.",
  "Can you check the sums of our last trip? We paid fourteen fifty a night for four nights at the old wharf, nine " +
    "pounds for water, and sixty-one for diesel. My brother paid the first two nights and the diesel, I paid the rest, " +
    "and our friend has paid nothing so far. Please tell me who owes what to whom, and put it in a small table.",
  "Wir möchten im Oktober mit drei Kindern den Kanal entlang radeln, von der Schleuse bis zum alten Hafen. Welche " +
    "Abschnitte sind geteert, und wo gibt es unterwegs etwas zu essen? Letztes Jahr war der Weg hinter der zweiten " +
    "Brücke gesperrt, und wir mussten einen langen Umweg über die Felder nehmen.",
];
/** What a tool finds. */
const RECORDS = [
  "lock: Holm Bottom; status: open; level_cm: 214; keeper: on duty until six; remarks: none",
  "lock: Three Rise; status: works; level_cm: 187; keeper: absent; remarks: one gate leaks, boats pass one by one",
  "mooring: Old Wharf; places: 12; free: 3; water: yes; electricity: no; price: 14.50 a night",
  "Wartung am Wehr Nord, dritter Abschnitt; Beginn gegen acht, Ende nicht vor Mittag; Umleitung über den Altarm",
  "notice: fishing match on the east bank from the swing bridge to the boatyard, please pass slowly",
  "lock: Mill Lane; status: open; level_cm: 201; keeper: volunteers; remarks: last passage twenty minutes before dusk",
  "boat: Heron; length_m: 17.2; draught_cm: 61; licence: valid; last inspection: passed with two remarks",
  "avis: niveau bas entre les deux ponts, tirant d'eau limité à quatre-vingts centimètres jusqu'à la pluie",
  "bridge: swing bridge 14; operated: by hand; key: from the office; clearance_m: 1.90; traffic: farm vehicles",
  "weather: wind south-west, gusts of nine metres a second after noon, some rain in the evening, visibility good",
];
const PARTS = { chat: CHAT, tool: RECORDS } as const;
/** Above the longest text of the benchmark, before it is cut. */
const PIECE_LIMIT = 16_384;

type TextKind = keyof typeof PARTS;
/** A new text of `kind` that has exactly so many pieces. */
export type TextMaker = (kind: TextKind, pieces: number) => string;

/** @param weights the folder whose pieces are counted */
export function textMaker(weights: string): TextMaker {
  const vocabulary = parseVocabulary(readFileSync(join(weights, "vocabulary.bin")));
  if (vocabulary === undefined) throw new Error(`${weights} has no vocabulary`);
  const tokenizer = new Tokenizer(vocabulary, PIECE_LIMIT);
  let made = 0;
  return (kind, pieces) => {
    made += 1;
    const parts = PARTS[kind];
    // A part has more than twenty pieces.
    const count = Math.ceil(pieces / 20);
    const turned = Array.from({ length: count }, (_, i) => parts[(made + i) % parts.length]);
    const text = turned.map((part) => `No. ${made}\n${part}`).join("\n");
    const { ends } = tokenizer.pieces(text);
    return text.slice(0, ends[pieces - 1]);
  };
}

type Message = {
  readonly role: string;
  readonly content: string | null;
  readonly [key: string]: unknown;
};

const SYSTEM = { role: "system", content: "You answer questions about canals in plain words." };
const bodyOf = (messages: readonly Message[]): string =>
  JSON.stringify({ model: "demo-1", messages: [SYSTEM, ...messages] });

const found = (number: number, result: string): readonly Message[] => [
  {
    role: "assistant",
    content: null,
    tool_calls: [
      {
        id: `c${number}`,
        type: "function",
        function: { name: "search_documents", arguments: '{"q":"canal"}' },
      },
    ],
  },
  { role: "tool", tool_call_id: `c${number}`, content: result },
];

/** A question; nothing before it. */
export const chatOf = (text: string): string => bodyOf([{ role: "user", content: text }]);
/** A known question, and what a tool found. */
export const toolResultOf = (result: string): string =>
  bodyOf([{ role: "user", content: "Is the canal open today?" }, ...found(1, result)]);

/** Turns of a question, a call, its result and an answer; the one thing new is the last result. */
export function conversation(make: TextMaker, turns: number): (result: string) => string {
  const past = Array.from({ length: turns - 1 }, (_, i): readonly Message[] => [
    { role: "user", content: make("chat", 40) },
    ...found(i, make("tool", 120)),
    { role: "assistant", content: "It is open, and the keeper is there until six." },
  ]).flat();
  return (result) =>
    bodyOf([...past, { role: "user", content: "And today?" }, ...found(turns, result)]);
}
