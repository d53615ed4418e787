// @ts-check
/**
 * The picture, as the server tells it: tables of rows. The server does all the thinking; here its
 * changes are put into maps, and what changed since the last drawing is remembered by key.
 *
 * @typedef {Record<string, any>} Row one row of a table; its fields are the server's
 * @typedef {{n: number, at?: number, reset?: boolean,
 *   set?: Record<string, Record<string, Row>>, drop?: Record<string, string[]>}} Message
 * @typedef {{reset: boolean, tables: Map<string, Set<string>>,
 *   any: (...tables: string[]) => boolean}} Changes
 */

/** Tables whose keys are "owner:rest" and are asked for by owner. */
const OWNED = new Set(["shards", "best", "rates"]);

/** @type {ReadonlyMap<string, Row>} */
const NOTHING = new Map();

export class Store {
  /** @type {Map<string, Map<string, Row>>} */
  #tables = new Map();
  /** @type {Map<string, Map<string, Map<string, Row>>>} by table and owner */
  #owned = new Map();
  /** @type {Map<string, Set<string>>} */
  #changed = new Map();
  #reset = false;
  #number = -1;

  #heard = 0;

  /** The time of what was told last, Unix seconds. */
  at = 0;

  /** What time it is there by now: a clock goes on between two messages. */
  now() {
    const { paused, speed = 1 } = this.about;
    return paused ? this.at : this.at + ((performance.now() - this.#heard) / 1000) * speed;
  }

  /** @param {string} name @returns {ReadonlyMap<string, Row>} */
  table(name) {
    return this.#tables.get(name) ?? NOTHING;
  }

  /** What all that was told of adds up to, rows that have gone too: of blocks, races or rounds.
   * @param {"block" | "race" | "round"} of @returns {Row} */
  totals(of) {
    return this.table(`${of}_totals`).get("totals") ?? {};
  }

  /** The rows of one owner: a job's shards, a node's rates. @param {string} name @param {string} owner */
  owned(name, owner) {
    return this.#owned.get(name)?.get(owner) ?? NOTHING;
  }

  /** @returns {Row} */
  get about() {
    return this.table("about").get("about") ?? {};
  }

  /**
   * Take a message. False where one before it is missing: the stream must then begin again.
   * @param {Message} message
   */
  apply(message) {
    if (message.reset) this.#clear();
    else if (message.n !== this.#number + 1) return false;
    this.#number = message.n;
    for (const [name, rows] of Object.entries(message.set ?? {})) {
      for (const [key, row] of Object.entries(rows)) this.#set(name, key, row);
    }
    for (const [name, keys] of Object.entries(message.drop ?? {})) {
      for (const key of keys) this.#drop(name, key);
    }
    this.#heard = performance.now();
    this.at = message.at ?? this.#latest();
    return true;
  }

  /** What changed since this was asked last. @returns {Changes} */
  take() {
    const tables = this.#changed;
    const reset = this.#reset;
    this.#changed = new Map();
    this.#reset = false;
    return made(reset, tables);
  }

  #clear() {
    this.#tables.clear();
    this.#owned.clear();
    this.#changed.clear();
    this.#reset = true;
  }

  /** @param {string} name @param {string} key @param {Row} row */
  #set(name, key, row) {
    into(this.#tables, name).set(key, row);
    if (OWNED.has(name)) into(into(this.#owned, name), ownerOf(key)).set(key, row);
    this.#mark(name, key);
  }

  /** @param {string} name @param {string} key */
  #drop(name, key) {
    this.#tables.get(name)?.delete(key);
    if (OWNED.has(name)) this.#disown(name, key);
    this.#mark(name, key);
  }

  /** @param {string} name @param {string} key */
  #disown(name, key) {
    const owners = this.#owned.get(name);
    const rows = owners?.get(ownerOf(key));
    rows?.delete(key);
    if (rows?.size === 0) owners?.delete(ownerOf(key));
  }

  /** @param {string} name @param {string} key */
  #mark(name, key) {
    const keys = this.#changed.get(name);
    if (keys) keys.add(key);
    else this.#changed.set(name, new Set([key]));
  }

  /** A reset need not say when it is: the last thing told is near enough. */
  #latest() {
    let at = this.about.started ?? 0;
    for (const row of this.table("told").values()) at = Math.max(at, row.until);
    return at;
  }
}

/** Several changes as one. @param {Changes[]} all @returns {Changes} */
export function together(all) {
  if (all.length === 1) return all[0];
  /** @type {Map<string, Set<string>>} */
  const tables = new Map();
  for (const changes of all) {
    for (const [name, keys] of changes.tables) {
      const some = tables.get(name);
      if (some) for (const key of keys) some.add(key);
      else tables.set(name, new Set(keys));
    }
  }
  return made(
    all.some((changes) => changes.reset),
    tables,
  );
}

/** @param {boolean} reset @param {Map<string, Set<string>>} tables @returns {Changes} */
const made = (reset, tables) => ({
  reset,
  tables,
  any: (...names) => reset || names.some((name) => tables.has(name)),
});

/** A job's id may hold a colon itself; what follows the last one never does. @param {string} key */
export const ownerOf = (key) => key.slice(0, key.lastIndexOf(":"));

/**
 * @template V
 * @param {Map<string, Map<string, V>>} maps @param {string} key
 */
function into(maps, key) {
  let map = maps.get(key);
  if (!map) maps.set(key, (map = new Map()));
  return map;
}
