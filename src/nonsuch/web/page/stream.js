// @ts-check
/**
 * The stream of changes, kept open while anybody looks. It reconnects by itself, sooner at first;
 * every connection begins with the whole picture, so nothing needs to be asked for again.
 *
 * A browser has six connections to a host, for all tabs together (HTTP/1.1), and a stream holds one:
 * a seventh tab would wait for ever. So one that is hidden lets go of its own.
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

  function close() {
    clearTimeout(timer);
    source?.close();
    source = null;
  }

  function open() {
    close();
    if (document.hidden) return;
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
    close();
    const seconds = WAIT_SECONDS[Math.min(failures, WAIT_SECONDS.length - 1)];
    failures += 1;
    timer = window.setTimeout(open, seconds * 1000);
    tell("waiting", seconds);
    if (!(await refused()) || source) return;
    clearTimeout(timer);
    tell("refused", 0);
  }

  document.addEventListener("visibilitychange", open);
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
