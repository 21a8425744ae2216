// What pages cannot do without a script: copy, print, show passwords, use passkeys, tell local times.

const all = (selector) => [...document.querySelectorAll(selector)];
const said = document.getElementById("said");

function say(words) {
  said.textContent = "";
  setTimeout(() => { said.textContent = words; }, 50);
}

async function copy(source) {
  try {
    await navigator.clipboard.writeText(source.textContent);
    return true;
  } catch {
    // No clipboard without https. The old way copies what is marked.
    getSelection().selectAllChildren(source);
    return document.execCommand("copy");
  }
}

function tell({ firstChild: text }, words) {
  text.data = "Copied";
  say("Copied");
  setTimeout(() => { text.data = words; }, 2000);
}

for (const button of all("[data-copy]")) {
  button.hidden = false;
  button.onclick = async () => {
    if (await copy(document.getElementById(button.dataset.copy))) tell(button, "Copy");
    else say("The text is marked. Copy it with Control C or Command C");
  };
}

for (const button of all("[data-show]")) {
  const input = button.previousElementSibling;
  const name = button.ariaLabel.replace("Show ", "");
  const show = (visible) => {
    input.type = visible ? "text" : "password";
    button.ariaLabel = `${button.textContent = visible ? "Hide" : "Show"} ${name}`;
  };
  button.hidden = false;
  button.onclick = () => {
    const visible = input.type === "password";
    show(visible);
    say(`The ${name} is ${visible ? "shown" : "hidden"}`);
  };
  // A browser remembers what a text field held, but not a password field.
  input.form.addEventListener("submit", () => show(false));
  addEventListener("pagehide", () => show(false));
}

for (const button of all("[data-print]")) {
  button.hidden = false;
  button.onclick = () => print();
}

for (const form of all("[data-passkey]")) {
  const { passkey: kind, parse, options: path } = form.dataset, note = form.querySelector("[role=alert]");
  if (!window.PublicKeyCredential?.[parse]) continue;
  form.hidden = false;
  let busy;
  form.onsubmit = async (event) => {
    event.preventDefault();
    if (busy) return;
    busy = note.hidden = true;
    try {
      const reply = await fetch(path, { method: "POST", body: new URLSearchParams(new FormData(form)) });
      const options = await reply.json().catch(() => null); // or the next page says why
      const made = options && await navigator.credentials[kind]({ publicKey: PublicKeyCredential[parse](options) });
      form.credential.value = made && JSON.stringify(made);
      form.submit();
    } catch {
      busy = note.hidden = false;
    }
  };
  addEventListener("pagehide", () => { busy = false; });
}

// A second click would send a code that is used up.
for (const form of all("[data-once]")) {
  let sent;
  form.onsubmit = () => sent ? false : sent = true;
  addEventListener("pagehide", () => { sent = false; });
}

for (const time of all("time")) {
  const moment = new Date(time.dateTime);
  if (moment.getTimezoneOffset() === 0) continue;
  const local = (dateStyle) => moment.toLocaleString([], { dateStyle, timeStyle: "short" });
  time.title = `${local("medium")}, your time`;
  if (!time.closest("dl")) continue;
  const day = moment.getDate() === moment.getUTCDate() ? undefined : "medium";
  time.append(` (${local(day)} your time)`);
}

for (const link of all(".anchor")) {
  link.onclick = () => navigator.clipboard?.writeText(link.href).then(() => tell(link, "#"));
}

// Work that moves is looked at again. Only that part is replaced, so no focus is lost.
const work = document.querySelector("[data-moves]");

const look = () => setTimeout(async () => {
  const reply = await fetch(location).then((found) => found.ok && found.text()).catch(() => "");
  const now = new DOMParser().parseFromString(reply, "text/html").querySelector("[data-moves]");
  if (reply && !now) return location.reload();
  if (now) {
    if (now.dataset.moves !== work.dataset.moves) say(work.dataset.moves = now.dataset.moves);
    work.replaceChildren(...now.children);
  }
  look();
}, 2000);

if (work) look();

const toc = document.querySelector(".toc");

if (toc) {
  const mark = (links, fits) => { for (const one of links) one.ariaCurrent = fits(one) || null; };
  const speakers = all("[data-speak]");
  let store = {};
  try { store = localStorage; } catch {} // or nothing is kept
  const speak = (language) => {
    for (const one of all("[data-lang]")) one.hidden = one.dataset.lang !== language;
    mark(speakers, (one) => one.dataset.speak === language);
    history.replaceState(null, "", `?lang=${language}${location.hash}`);
  };
  for (const link of speakers) {
    const top = () => link.getBoundingClientRect().top;
    link.onclick = () => {
      const before = top();
      speak(store.lang = link.dataset.speak);
      scrollBy(0, top() - before);
      return false;
    };
  }
  if (!location.search && speakers.some((one) => one.dataset.speak === store.lang)) speak(store.lang);

  const [find, input, none, codes] = all(".find, #find, .find p, .toc details details");
  const links = all(".toc a"), items = all(".toc li");
  find.hidden = false;
  input.oninput = () => {
    const words = input.value.trim().toLowerCase();
    for (const item of items) item.hidden = !item.textContent.toLowerCase().includes(words);
    codes.open = words;
    none.hidden = items.some((item) => !item.hidden);
  };
  const fold = () => { toc.firstElementChild.open = innerWidth > 639; };
  fold();

  const part = (link) => document.querySelector(link.hash);
  const watch = new IntersectionObserver((entries) => {
    for (const one of entries) one.target.seen = one.isIntersecting;
    const now = links.findLast((link) => part(link).seen);
    mark(links, (link) => link === now);
    if (now?.checkVisibility()) now.scrollIntoView({ block: "nearest" });
  }, { rootMargin: "0px 0px -75%" });
  for (const link of links) {
    link.onclick = fold;
    watch.observe(part(link));
  }
}
