/**
 * What a start finds on disk, and how it becomes a log that can be written again. First everything is
 * read and compared with what was signed; only then is anything changed. A tail that was cut by a crash
 * is kept aside and cut off; damage that a crash cannot explain stops the start.
 */
import { join } from "node:path";
import { LimenError } from "../core/errors.ts";
import { type Checkpoint, type LogKey, openCheckpoint } from "./checkpoint.ts";
import { type FileOps, namesIn, readFile, replaceFile } from "./file.ts";
import { readLeaf } from "./leaf.ts";
import { Edge, type Hash, sha256 } from "./merkle.ts";
import { Publisher } from "./publish.ts";
import { Segment } from "./segment.ts";
import { FILE_LIMIT, LAST_SIGNED } from "./tiles.ts";
import {
  type OpenDecision,
  openSegment,
  type Scan,
  SEGMENT_READ_LIMIT,
  type SegmentHeader,
  scanSegment,
  WAL_DIR,
} from "./wal.ts";

/** Bytes that a crash cut off, until the log has a record of them. */
const PENDING = "state/torn.pending";

export type Recovered = {
  readonly publisher: Publisher;
  readonly segment: Segment;
  readonly segmentFirst: number;
  readonly nextBatch: number;
  /** Closed segments, oldest first, by their first index. */
  readonly older: readonly { readonly path: string; readonly first: number }[];
  readonly report: RecoveryReport;
  /** Settles what `report.torn` tells of; call it when the record of it is durable. */
  readonly settleTorn: () => void;
};

export type RecoveryReport = {
  readonly size: number;
  /** The last record is a `close`, or there is none yet. */
  readonly clean: boolean;
  readonly torn: { readonly bytes: number; readonly sha256: string } | undefined;
  readonly open: readonly OpenDecision[];
};

type Place = { readonly ops: FileOps; readonly dir: string; readonly key: LogKey };

/** @throws LimenError `log_corrupt` for what no crash leaves; foreign errors of the file system */
export function recover(place: Place): Recovered {
  const { ops, dir } = place;
  for (const path of [WAL_DIR, "state"]) ops.makeDir(join(dir, path));
  const signed = readLastSigned(place);
  const paths = namesIn(join(dir, WAL_DIR))
    .filter((name) => name.endsWith(".wal"))
    .map((name) => join(dir, WAL_DIR, name));
  const last = paths.at(-1);
  if (last === undefined) return begin(place, signed);
  const found = inspect(paths, signed);
  const torn = setTornAside(place, last, found.scan);
  const publisher = new Publisher(ops, dir, place.key, found.start);
  publisher.onMismatch = "rewrite"; // sound: `inspect` has compared the log with the signed root
  for (const path of paths) {
    const bytes = readSegment(path);
    const opened = openSegment(bytes);
    if (opened === undefined) throw damaged(path, "has changed while it was read");
    scanSegment(bytes, opened, (_, sealed) => publisher.take(sealed));
    publisher.writeFull(); // so that it holds the bundles of one segment at most
  }
  const segment = new Segment(ops, last, found.scan.end);
  if (!found.clean) segment.rewrite(readSegment(last));
  segment.truncate();
  publisher.publish(); // only now: what is signed must be on the disk
  publisher.onMismatch = "stop";
  return {
    publisher,
    segment,
    segmentFirst: found.firsts.at(-1) ?? 0,
    nextBatch: found.scan.nextBatch,
    older: paths.slice(0, -1).map((path, i) => ({ path, first: found.firsts[i] ?? 0 })),
    report: { size: publisher.size, clean: found.clean, torn, open: [...found.open] },
    settleTorn: () => settleTorn(place),
  };
}

function begin({ ops, dir, key }: Place, signed: Checkpoint | undefined): Recovered {
  if (signed !== undefined || namesIn(dir).includes("tile")) {
    throw damaged(join(dir, WAL_DIR), "has no segment, but the log was written before");
  }
  const header = { first: 0, firstBatch: 0, edge: [], open: [] };
  return {
    publisher: new Publisher(ops, dir, key, new Edge()),
    segment: Segment.create(ops, dir, header),
    segmentFirst: 0,
    nextBatch: 0,
    older: [],
    report: { size: 0, clean: true, torn: undefined, open: [] },
    settleTorn: () => settleTorn({ ops, dir, key }),
  };
}

function readLastSigned({ dir, key }: Place): Checkpoint | undefined {
  const path = join(dir, LAST_SIGNED);
  const bytes = readFile(path, FILE_LIMIT);
  if (bytes === undefined) return undefined;
  const note = openCheckpoint(bytes, key.verifier);
  if (note.kind !== "valid" || note.checkpoint.origin !== key.origin) {
    throw damaged(path, "is not signed by this log's key under this origin");
  }
  return note.checkpoint;
}

type Inspected = {
  /** The edge of the tree before the first entry that is still in the write-ahead log. */
  readonly start: Edge;
  readonly firsts: readonly number[];
  readonly scan: Scan;
  readonly clean: boolean;
  readonly open: ReadonlyMap<string, string>;
};

/** Reads all segments and changes nothing; throws unless they lead to the signed root. */
function inspect(paths: readonly string[], signed: Checkpoint | undefined): Inspected {
  const tree = new SignedTree(signed);
  const firsts: number[] = [];
  const open = new Map<string, string>();
  let start: Edge | undefined;
  let scan: Scan | undefined;
  let lastType = "";
  for (const path of paths) {
    const bytes = readSegment(path);
    const opened = openSegment(bytes);
    const before = opened && edgeOf(opened.header);
    if (opened === undefined || before === undefined) throw damaged(path, "has a damaged header");
    if (start === undefined) {
      start = before;
      tree.begin(edgeOf(opened.header) ?? before);
      for (const [id, dialect] of opened.header.open) open.set(id, dialect);
    } else if (scan?.tail !== "clean" || scan.nextBatch !== opened.header.firstBatch) {
      throw damaged(path, "does not follow the segment before it");
    }
    tree.meet(before, path);
    scan = scanSegment(bytes, opened, (_, { entry, hash }) => {
      tree.append(hash, path);
      lastType = track(entry, open);
    });
    if (scan.tail === "corrupt") throw damaged(path, `is damaged at byte ${scan.end}`);
    firsts.push(opened.header.first);
  }
  if (start === undefined || scan === undefined) throw new Error("there is no segment");
  tree.end(paths.at(-1) ?? "");
  return { start, firsts, scan, clean: lastType === "close", open };
}

/** The tree that the write-ahead log leads to, compared with what was signed on the way. */
class SignedTree {
  readonly #signed: Checkpoint | undefined;
  #edge = new Edge();
  #isReached: boolean;

  constructor(signed: Checkpoint | undefined) {
    this.#signed = signed;
    this.#isReached = signed === undefined;
  }

  begin(edge: Edge): void {
    this.#edge = edge;
  }

  /** The edge that a segment's header states must be the one reached. */
  meet(stated: Edge, path: string): void {
    const isSame =
      stated.size === this.#edge.size && Buffer.compare(stated.root(), this.#edge.root()) === 0;
    if (!isSame) throw damaged(path, "does not continue the tree of the segment before it");
    this.#compare(path);
  }

  append(leaf: Hash, path: string): void {
    this.#edge.append(leaf);
    this.#compare(path);
  }

  end(path: string): void {
    if (this.#isReached) return;
    throw damaged(
      path,
      `ends at size ${this.#edge.size}, but size ${this.#signed?.size} was signed`,
    );
  }

  #compare(path: string): void {
    if (this.#signed?.size !== this.#edge.size) return;
    if (Buffer.compare(this.#signed.root, this.#edge.root()) !== 0) {
      throw damaged(
        path,
        `does not lead to the root that was signed for size ${this.#signed.size}`,
      );
    }
    this.#isReached = true;
  }
}

function edgeOf(header: SegmentHeader): Edge | undefined {
  try {
    return new Edge(header.first, header.edge);
  } catch {
    return undefined; // who wrote the header did not write an edge
  }
}

/** Keeps the decisions without outcome; returns the entry's type. */
function track(entry: Uint8Array, open: Map<string, string>): string {
  const head = readLeaf(entry);
  if (head?.type === "request.decision" && head.id !== undefined) {
    open.set(head.id, head.dialect ?? "none");
  }
  if (head?.type === "response.outcome" && head.decision !== undefined) open.delete(head.decision);
  return head?.type ?? "";
}

/**
 * Copies what a crash cut off to `state/torn.pending`, durably, before anything is cut. A file that is
 * there already is from a start that crashed before its record was durable: that record is still due.
 */
function setTornAside({ ops, dir }: Place, path: string, scan: Scan): RecoveryReport["torn"] {
  const pending = join(dir, PENDING);
  if (scan.tail === "torn") {
    const bytes = readSegment(path).subarray(scan.end);
    replaceFile(ops, pending, { bytes, as: "durable" });
  }
  const kept = readFile(pending, SEGMENT_READ_LIMIT);
  return kept && { bytes: kept.length, sha256: Buffer.from(sha256(kept)).toString("hex") };
}

/** Gives the kept bytes their final name, by which the record tells of them. */
function settleTorn({ ops, dir }: Place): void {
  const pending = join(dir, PENDING);
  const kept = readFile(pending, SEGMENT_READ_LIMIT);
  if (kept === undefined) return;
  const name = `state/torn-${Buffer.from(sha256(kept)).toString("hex").slice(0, 16)}.bin`;
  ops.rename(pending, join(dir, name));
}

function readSegment(path: string): Uint8Array {
  const bytes = readFile(path, SEGMENT_READ_LIMIT);
  if (bytes === undefined) throw damaged(path, "is larger than any segment, or has vanished");
  return bytes;
}

const damaged = (where: string, what: string): LimenError =>
  new LimenError("log_corrupt", {
    where,
    what: `${what}, which no crash explains`,
    fix:
      "keep this folder as evidence and run `limen audit verify` on it; then restore it whole from a " +
      "copy, or start a new epoch: another audit.dir, a new key, an origin with the next number",
  });
