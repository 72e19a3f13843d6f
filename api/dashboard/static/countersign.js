// What makes the pages quicker to use. Everything that decides works without it; it only adds to what the server sent,
// by `data-*` attributes, and keeps to the policy of the pages: no inline code, no other origin.
const all = (selector, root = document) => [...root.querySelectorAll(selector)];
const make = (tag, props = {}, ...inside) => {
  const element = Object.assign(document.createElement(tag), props);
  element.append(...inside);
  return element;
};

// Word of what has happened, also for whoever listens.
const toast = make("div", { className: "toast", role: "status" });
document.body.append(toast);
let toastEnds;
function say(text) {
  toast.textContent = text;
  clearTimeout(toastEnds);
  toastEnds = setTimeout(() => { toast.textContent = ""; }, 4000);
}

// Times: the viewer's own zone on hover, and ages that go on.
const units = [["year", 31557600], ["month", 2629800], ["day", 86400], ["hour", 3600], ["minute", 60]];
const plural = (count, unit) => `${count} ${unit}${count === 1 ? "" : "s"}`;
function ago(seconds) {
  const found = units.find(([, size]) => Math.abs(seconds) >= size);
  if (!found) return seconds >= 0 ? "just now" : "in less than a minute";
  const told = plural(Math.floor(Math.abs(seconds) / found[1]), found[0]);
  return seconds > 0 ? `${told} ago` : `in ${told}`;
}
function left(seconds) {
  if (seconds <= 0) return "over";
  const parts = [["d", 86400], ["h", 3600], ["min", 60], ["s", 1]];
  const first = Math.max(0, parts.findIndex(([, size]) => seconds >= size));
  let rest = Math.floor(Math.max(seconds, 1));
  const told = [];
  for (const [unit, size] of parts.slice(first, first + 2)) {
    const count = Math.floor(rest / size);
    rest -= count * size;
    if (count) told.push(`${count} ${unit}`);
  }
  return `${told.join(" ")} left`;
}
const local = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "long" });
function tell(time) {
  const at = new Date(time.dateTime);
  if (Number.isNaN(at.getTime())) return;
  const seconds = (Date.now() - at) / 1000;
  if ("ago" in time.dataset) time.textContent = ago(seconds);
  if ("countdown" in time.dataset) {
    time.textContent = left(-seconds);
    const tone = -seconds < 3600 ? "bad" : -seconds < 86400 ? "warn" : "neutral";
    time.className = `countdown countdown-${tone}`;
  }
  if (!time.dataset.zoned) {
    time.dataset.zoned = "yes";
    time.title = `${local.format(at)} (${time.title})`;
  }
}
const times = (root = document) => all("time[data-ago], time[data-time], time[data-countdown]", root).forEach(tell);
setInterval(() => { if (!document.hidden) times(); }, 10000);

// A button beside each long id.
function copying(root = document) {
  for (const span of all("[data-copy]:not([data-ready])", root)) {
    span.dataset.ready = "yes";
    span.removeAttribute("tabindex");
    const button = make("button", { type: "button", className: "button button-quiet copy-button", textContent: "Copy" });
    button.setAttribute("aria-label", `Copy ${span.dataset.copy.slice(0, 12)}`);
    button.addEventListener("click", async () => {
      try {
        await navigator.clipboard.writeText(span.dataset.copy);
        say("Copied.");
      } catch {
        getSelection().selectAllChildren(span.querySelector("code:last-of-type"));
        say("Selected. Copy it with the keyboard.");
      }
    });
    span.append(button);
  }
}

// What asks once more becomes a dialog: the same form, moved into it.
function confirming(root = document) {
  for (const details of all("details[data-confirm]:not([data-ready])", root)) {
    details.dataset.ready = "yes";
    const body = details.querySelector(".confirm-body");
    const summary = details.querySelector("summary");
    const title = body.querySelector("h2");
    const dialog = make("dialog");
    const id = `dialog-${Math.random().toString(36).slice(2)}`;
    if (title) { title.id = id; dialog.setAttribute("aria-labelledby", id); }
    const close = make("button", { type: "button", className: "button button-quiet", textContent: "Not now" });
    close.addEventListener("click", () => dialog.close());
    (body.querySelector(".form-go") ?? body).append(close);
    const show = () => {
      dialog.append(body);
      if (!dialog.isConnected) details.after(dialog);
      dialog.showModal();
      (body.querySelector("input:not([type=hidden]), textarea, select") ?? close).focus();
    };
    summary.setAttribute("role", "button");
    summary.setAttribute("aria-haspopup", "dialog");
    summary.addEventListener("click", (event) => { event.preventDefault(); show(); });
    dialog.addEventListener("close", () => { details.open = false; details.append(body); summary.focus(); });
    if (details.open) show();
  }
}

// The live count. It stops while nobody looks, and when it is refused.
function polling() {
  for (const place of all("[data-poll]")) {
    let stopped = false;
    const ask = async () => {
      if (document.hidden || stopped) return;
      try {
        const answer = await fetch(place.dataset.poll, { headers: { Accept: "text/plain" }, redirect: "error" });
        if (answer.status === 401 || answer.status === 403 || answer.status === 404) stopped = true;
        if (!answer.ok) return;
        const told = (await answer.text()).trim().slice(0, 40);
        if (place.textContent !== told) place.textContent = told;
      } catch { /* The network is away for a moment; the next one asks again. */ }
    };
    ask();
    setInterval(ask, 20000);
    document.addEventListener("visibilitychange", ask);
  }
}

// A form's preview: the server answers a fragment of ours to what is filled in, and the newest answer counts.
function previewing() {
  for (const form of all("form[data-preview]")) {
    const into = document.getElementById(form.dataset.into);
    if (!into) continue;
    let waits, asked;
    if (!into.hasAttribute("aria-live")) into.setAttribute("aria-live", "polite");
    const ask = async () => {
      asked?.abort();
      asked = new AbortController();
      const mine = asked;
      into.setAttribute("aria-busy", "true");
      try {
        const answer = await fetch(form.dataset.preview, {
          method: "POST", body: new URLSearchParams(new FormData(form)), signal: mine.signal, redirect: "error",
        });
        if (!answer.headers.get("content-type")?.startsWith("text/html")) return;
        const fragment = new DOMParser().parseFromString(await answer.text(), "text/html");
        if (mine !== asked) return;
        const found = fragment.getElementById(into.id);
        into.replaceChildren(...(found ?? fragment.body).childNodes);
        ready(into);
      } catch (error) {
        if (error.name !== "AbortError") say("The preview is not of now: the server did not answer.");
      } finally {
        if (mine === asked) into.removeAttribute("aria-busy");
      }
    };
    form.addEventListener("input", () => { clearTimeout(waits); waits = setTimeout(ask, 250); });
  }
}

// Fields that differ from what the page was made with; and a word before leaving with changes that were not sent.
function changing() {
  for (const input of all("input[type=range]")) {
    const output = input.parentElement.querySelector("output");
    const named = input.dataset.words?.split("|");
    input.addEventListener("input", () => {
      if (output) output.textContent = named?.[input.value] ?? input.value;
      if (named) input.setAttribute("aria-valuetext", named[input.value]);
    });
  }
  const differs = (input) => {
    if (input.type === "checkbox" || input.type === "radio") return input.checked !== input.defaultChecked;
    if (input.tagName !== "SELECT") return input.value !== input.defaultValue;
    const set = [...input.options].some((option) => option.defaultSelected);
    return set ? [...input.options].some((o) => o.selected !== o.defaultSelected) : input.selectedIndex > 0;
  };
  document.addEventListener("input", ({ target }) => {
    const field = target.closest("[data-changes] .field");
    if (!field || !target.name) return;
    const changed = differs(target);
    if (field.querySelector("p.was:not([data-live])")) return;
    field.classList.toggle("was-changed", changed);
    field.querySelector("p.was[data-live]")?.remove();
    if (!changed) return;
    const was = target.tagName === "SELECT"
      ? [...target.options].find((o) => o.defaultSelected)?.textContent : target.defaultValue;
    const note = make("p", { className: "was" }, "Changed. It was: ", make("del", { textContent: was || "nothing" }));
    note.dataset.live = "yes";
    field.append(note);
  });
  let sending = false;
  document.addEventListener("submit", () => { sending = true; setTimeout(() => { sending = false; }, 3000); });
  addEventListener("beforeunload", (event) => {
    const open = all("form[data-guard]").some((form) => [...form.elements].some((e) => e.name && differs(e)));
    if (open && !sending) event.preventDefault();
  });
}

// A box above those of a list of one class, which ticks all of them.
function selecting() {
  for (const head of all("[data-select-all]")) {
    const boxes = all("tbody input[type=checkbox]", head.closest("table"));
    const every = make("input", { type: "checkbox" });
    every.setAttribute("aria-label", "Select all on this page");
    const look = () => { every.checked = boxes.length > 0 && boxes.every((box) => box.checked); };
    every.addEventListener("change", () => { for (const box of boxes) box.checked = every.checked; });
    for (const box of boxes) box.addEventListener("change", look);
    head.replaceChildren(every);
    look();
  }
}

// Keys: j k move, Enter opens, a r e go to what decides, ? tells all of them. Never while somebody types, nor once a
// form is on its way; and not at all where the person has switched them off (WCAG 2.2, 2.1.4), as who speaks to a
// computer has to.
const help = [["j", "Next"], ["k", "Previous"], ["Enter", "Open"], ["a", "To approve"], ["r", "To reject"],
  ["e", "Edit"], ["n", "Next that waits"], ["u", "Up, to the list"], ["?", "This help"]];
const kept = {
  get off() { try { return localStorage.getItem("countersign.keys") === "off"; } catch { return false; } },
  set off(off) { try { localStorage.setItem("countersign.keys", off ? "off" : "on"); } catch { /* Nothing is kept here. */ } },
};
let keysOff = kept.off, sent = false;
document.addEventListener("submit", (event) => { sent = !event.defaultPrevented; });
addEventListener("pageshow", () => { sent = false; });
function showHelp() {
  const list = make("dl", { className: "facts" });
  for (const [key, text] of help) {
    list.append(make("div", {}, make("dt", {}, make("kbd", { textContent: key })), make("dd", { textContent: text })));
  }
  const close = make("button", { type: "button", className: "button dialog-close", textContent: "Close" });
  const on = make("input", { type: "checkbox", id: "keys-on", checked: !keysOff });
  on.addEventListener("change", () => { keysOff = kept.off = !on.checked; });
  const label = make("label", { htmlFor: "keys-on", textContent: "Use these keys in this browser" });
  const dialog = make("dialog", {}, close, make("h2", { textContent: "Keys", id: "keys-title" }), list,
    make("div", { className: "field field-check" }, on, label));
  dialog.setAttribute("aria-labelledby", "keys-title");
  close.addEventListener("click", () => dialog.close());
  dialog.addEventListener("close", () => dialog.remove());
  document.body.append(dialog);
  dialog.showModal();
}
for (const button of all("[data-keys]")) {
  button.hidden = false;
  button.addEventListener("click", showHelp);
}
function move(by) {
  const rows = all("[data-row]");
  if (!rows.length) return;
  const old = rows.findIndex((row) => row.classList.contains("at"));
  const next = Math.min(rows.length - 1, Math.max(0, old < 0 ? (by > 0 ? 0 : rows.length - 1) : old + by));
  rows[old]?.classList.remove("at");
  rows[next].classList.add("at");
  (rows[next].querySelector("a[href], button") ?? rows[next]).focus({ preventScroll: true });
  rows[next].scrollIntoView({ block: "nearest" });
}
// `data-key="a"` on a link is followed; on a control it is focused; on what asks once more it is opened.
function goTo(key) {
  const target = document.querySelector(`[data-key="${key}"]`);
  if (!target) return false;
  if (target.matches("a[href]")) target.click();
  else if (target.matches("details")) target.querySelector("summary").click();
  else { target.scrollIntoView({ block: "nearest" }); target.focus(); }
  return true;
}
document.addEventListener("keydown", (event) => {
  if (keysOff || sent || event.ctrlKey || event.metaKey || event.altKey || event.defaultPrevented) return;
  if (event.target.closest?.("input:not([type=checkbox], [type=radio]), textarea, select, [contenteditable], dialog")) return;
  if (event.key === "j" || event.key === "k") move(event.key === "j" ? 1 : -1);
  else if (event.key === "?") showHelp();
  else if (!/^[arenu]$/.test(event.key) || !goTo(event.key)) return;
  event.preventDefault();
});

// On a wide screen the menu is open, also in a browser that cannot show what is folded.
const wide = matchMedia("(min-width: 60rem)");
const menu = () => all("details[data-menu]").forEach((details) => { details.open = wide.matches; });
if (!CSS.supports("selector(::details-content)")) { wide.addEventListener("change", menu); menu(); }

function ready(root = document) {
  times(root);
  copying(root);
  confirming(root);
}
ready();
polling();
previewing();
changing();
selecting();
// What was done, or is wrong, comes first for who cannot see it; a place that was asked for comes before what was done.
const first = document.querySelector("[data-focus]");
if (first && !(location.hash && first.matches("[role=status]"))) first.focus();
