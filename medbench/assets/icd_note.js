// A note beside its codes: a code clicked lights up its words, a word clicked lights up its codes.
// Everything is put on the page with textContent, so that nothing in a note can be HTML.

const KEYS = { a: "accept", x: "reject", b: "back_off", f: "first" };
const memory = new WeakMap(); // what is lit, replaced and typed, for each place the component stands in

export default function (component) {
  const { data, parentElement, setTriggerValue, setStateValue } = component;
  const root = parentElement.querySelector(".mb-icd");
  const kept = memory.get(parentElement) || { note: null, label: null, replacing: null, typed: null };
  const fresh = kept.note !== data.note;
  if (fresh) Object.assign(kept, { note: data.note, label: null, replacing: null, typed: null });
  memory.set(parentElement, kept);

  const act = (kind, label, to) => {
    kept.replacing = null;
    setTriggerValue("act", { kind, label, to: to || "", at: Date.now() });
  };
  const draw = () => {
    drawNote(root.querySelector(".mb-icd-text"), data, kept, light);
    drawCodes(root.querySelector(".mb-icd-codes"), data, kept, light, act, setStateValue, draw);
  };
  const light = (label, from) => {
    kept.label = kept.label === label ? null : label;
    draw();
    if (kept.label === null) return;
    const other = from === "note" ? ".mb-icd-card.mb-lit" : ".mb-icd-text mark.mb-lit";
    const found = root.querySelector(other);
    if (found) found.scrollIntoView({ block: "nearest" });
  };
  root.onkeydown = (event) => pressed(event, data, kept, act, draw, setTriggerValue, root);
  draw();
  // Whoever has just asked for codes can decide by key at once; nobody who came from elsewhere is moved.
  const asked = fresh && ["TEXTAREA", "BUTTON"].includes(document.activeElement && document.activeElement.tagName);
  const first = root.querySelector(".mb-icd-card");
  if (asked && first) first.focus();
}

function element(tag, name, text) {
  const made = document.createElement(tag);
  if (name) made.className = name;
  if (text !== undefined) made.textContent = text;
  return made;
}

function drawNote(place, data, kept, light) {
  const scrolled = place.scrollTop;
  place.replaceChildren();
  for (const [start, end, over] of pieces(data)) {
    const words = data.text.slice(start, end);
    if (!over.length) {
      place.append(words);
      continue;
    }
    const mark = element("mark", "", words);
    const apart = over.every((one) => one.status !== "present");
    if (apart) mark.classList.add("mb-apart");
    if (kept.label !== null) mark.classList.add(over.some((one) => one.label === kept.label) ? "mb-lit" : "mb-dim");
    mark.title = over.map((one) => one.title).join("\n");
    mark.onclick = () => {
      const labels = [...new Set(over.map((one) => one.label))];
      const next = labels[(labels.indexOf(kept.label) + 1) % labels.length];
      light(next, "note");
    };
    place.append(mark);
  }
  place.scrollTop = scrolled;
}

// Yields [start, end, marks over it] from the beginning to the end of the text. The marks come in the order of their
// beginnings and only those that are still open are looked at: a record of 500 pages has tens of thousands of them.
function* pieces(data) {
  const marks = [...data.marks].sort((one, two) => one.start - two.start);
  const edges = [...new Set([0, data.text.length, ...marks.flatMap((mark) => [mark.start, mark.end])])];
  edges.sort((one, two) => one - two);
  let open = [];
  let next = 0;
  for (let at = 0; at + 1 < edges.length; at += 1) {
    const [start, end] = [edges[at], edges[at + 1]];
    open = open.filter((mark) => mark.end > start);
    for (; next < marks.length && marks[next].start <= start; next += 1) open.push(marks[next]);
    yield [start, end, open];
  }
}

function drawCodes(place, data, kept, light, act, setStateValue, draw) {
  const scrolled = place.scrollTop;
  // Asked of the shadow root: the document itself only knows that the focus is somewhere inside.
  const focused = place.getRootNode().activeElement;
  const held = place.contains(focused) ? focused.closest(".mb-icd-card") : null;
  const label = held && (kept.label || held.dataset.label);
  place.replaceChildren();
  if (!data.codes.length) place.append(element("p", "mb-quiet", data.nothing));
  for (const code of data.codes) place.append(card(code, data, kept, light, act, setStateValue, draw));
  if (data.apart.length) {
    place.append(element("h4", "", "Set apart, not coded"));
    for (const one of data.apart) place.append(apartCard(one, kept, light, act));
  }
  place.scrollTop = scrolled;
  const again = label && place.querySelector(`.mb-icd-card[data-label="${CSS.escape(label)}"]`);
  if (again && !kept.replacing) again.focus();
}

function card(code, data, kept, light, act, setStateValue, draw) {
  const made = element("div", "mb-icd-card mb-" + code.standing);
  made.tabIndex = 0;
  made.dataset.label = code.label;
  if (kept.label === code.label) made.classList.add("mb-lit");
  const head = element("div", "mb-icd-head");
  head.append(element("span", "mb-code", code.code), element("span", "mb-words", code.text));
  const bar = element("div", "mb-icd-bar");
  bar.append(element("span"));
  bar.firstChild.style.width = `${Math.round(100 * code.share)}%`;
  const facts = element("div", "mb-quiet", code.facts);
  made.append(head, bar, facts);
  if (code.warning) made.append(element("div", "mb-warning", code.warning));
  made.append(buttons(code, kept, act, draw));
  made.onclick = (event) => {
    if (!event.target.closest("button, input, li")) light(code.label, "codes");
  };
  if (kept.replacing === code.label) made.append(typeAhead(code, data, kept, act, setStateValue));
  return made;
}

function buttons(code, kept, act, draw) {
  const row = element("div", "mb-icd-buttons");
  const add = (text, title, done) => {
    const button = element("button", "", text);
    button.type = "button";
    button.title = title;
    button.onclick = done;
    row.append(button);
  };
  if (code.standing !== "accepted") add("✓ Accept", "Key A", () => act("accept", code.label));
  if (code.standing === "accepted") add("⤒ First", "Put it first in the list. Key F", () => act("first", code.label));
  if (code.standing !== "rejected") add("✗ Reject", "Key X", () => act("reject", code.label));
  add("✎ Replace", "Type words or a code. Key E", () => {
    Object.assign(kept, { replacing: kept.replacing === code.label ? null : code.label, typed: null });
    draw();
  });
  if (code.category) add("↥ " + code.category, "Back off to the category. Key B", () => act("back_off", code.label));
  return row;
}

function typeAhead(code, data, kept, act, setStateValue) {
  const box = element("div", "mb-icd-ahead");
  const input = element("input");
  input.type = "text";
  input.placeholder = "words or a code, e.g. kidney failure or N17";
  input.setAttribute("aria-label", "Replace " + code.code + " by");
  const query = data.query && data.query.label === code.label ? data.query.words : "";
  input.value = kept.typed ?? query; // what is being typed outlives an answer to its beginning
  let waiting;
  input.oninput = () => {
    clearTimeout(waiting);
    const words = (kept.typed = input.value);
    waiting = setTimeout(() => setStateValue("query", { label: code.label, words }), 250);
  };
  const list = element("ul");
  for (const hit of query ? data.hits : []) {
    const row = element("li");
    const button = element("button", "");
    button.type = "button";
    button.append(element("span", "mb-code", hit.code), element("span", "", hit.text));
    button.onclick = () => act("replace", code.label, hit.label);
    row.append(button);
    list.append(row);
  }
  if (query && !data.hits.length) list.append(element("li", "mb-quiet", "No code found for these words."));
  box.append(input, list);
  setTimeout(() => {
    input.focus();
    input.setSelectionRange(input.value.length, input.value.length);
  }, 0);
  return box;
}

function apartCard(one, kept, light, act) {
  const made = element("div", "mb-icd-card mb-apart-card mb-" + one.standing);
  made.tabIndex = 0;
  made.dataset.label = one.label;
  if (kept.label === one.label) made.classList.add("mb-lit");
  const head = element("div", "mb-icd-head");
  head.append(element("span", "mb-code", one.code), element("span", "mb-words", one.text));
  made.append(head, element("div", "mb-quiet", one.why));
  if (one.also.length) {
    const also = element("div", "mb-quiet", "The same words: " + one.also.map((other) => other.code).join(", "));
    also.title = one.also.map((other) => `${other.code} ${other.text}`).join("\n");
    made.append(also);
  }
  const row = element("div", "mb-icd-buttons");
  const button = element("button", "", one.standing === "accepted" ? "✗ Take it out" : "✓ Code it anyway");
  button.type = "button";
  button.onclick = () => act(one.standing === "accepted" ? "reject" : "add", one.label);
  row.append(button);
  made.append(row);
  made.onclick = (event) => {
    if (!event.target.closest("button")) light(one.label, "codes");
  };
  return made;
}

function pressed(event, data, kept, act, draw, setTriggerValue, root) {
  if (event.target.tagName === "INPUT") {
    if (event.key === "Escape") {
      kept.replacing = null;
      draw();
    }
    event.stopPropagation(); // the app has shortcuts of its own on single letters
    return;
  }
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  const cards = [...root.querySelectorAll(".mb-icd-card")];
  const focused = event.target.closest(".mb-icd-card");
  const at = cards.indexOf(focused);
  if (event.key === "ArrowDown" || event.key === "ArrowUp") {
    const next = cards[at + (event.key === "ArrowDown" ? 1 : -1)];
    if (next) {
      kept.label = next.dataset.label;
      draw();
      const again = root.querySelector(`.mb-icd-card[data-label="${CSS.escape(kept.label)}"]`);
      if (again) again.focus();
    }
  } else if (event.key === "u") {
    setTriggerValue("undo", Date.now());
  } else if (focused && !focused.classList.contains("mb-apart-card") && (event.key in KEYS || event.key === "e")) {
    kept.label = focused.dataset.label;
    if (event.key === "e") {
      Object.assign(kept, { replacing: kept.label, typed: null });
      draw();
    } else {
      act(KEYS[event.key], kept.label);
    }
  } else {
    return;
  }
  event.preventDefault();
  event.stopPropagation();
}
