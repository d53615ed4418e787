// @ts-check
/**
 * The stream of changes, kept open. It reconnects by itself, sooner at first; every connection
 * begins with the whole picture, so nothing needs to be asked for again.
 *
 * @typedef {"connecting" | "open" | "waiting" | "refused"} Connection
 */

const WAIT_SECONDS = [0.5, 1, 2, 4, 8];

/**
 * @param {(message: import("./store.js").Message) => boolean} take false where a message is missing
 * @param {(state: Connection, seconds: number) => void} tell
 * @returns {{retry: () => void}}
 */
export function listen(take, tell) {
  let failures = 0;
  let timer = 0;
  /** @type {EventSource | null} */
  let source = null;

  function open() {
    clearTimeout(timer);
    source?.close();
    tell("connecting", 0);
    source = new EventSource("/api/stream");
    source.onmessage = (event) => {
      if (!take(JSON.parse(event.data))) return open();
      if (failures || source?.readyState === EventSource.OPEN) tell("open", 0);
      failures = 0;
    };
    source.onerror = wait;
  }

  async function wait() {
    source?.close();
    const seconds = WAIT_SECONDS[Math.min(failures, WAIT_SECONDS.length - 1)];
    failures += 1;
    timer = window.setTimeout(open, seconds * 1000);
    tell("waiting", seconds);
    if (await refused()) {
      clearTimeout(timer);
      tell("refused", 0);
    }
  }

  open();
  return { retry: open };
}

/** An event source does not say why it failed; the picture's own answer does. */
async function refused() {
  try {
    const answer = await fetch("/api/picture", { method: "HEAD" });
    return answer.status === 401 || answer.status === 403;
  } catch {
    return false;
  }
}
