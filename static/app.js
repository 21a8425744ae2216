// What a page cannot do without a script: copy, print, show passwords, use passkeys, tell local times. All else works.

const all = (selector) => [...document.querySelectorAll(selector)];
const said = document.getElementById("said");

function say(words) {
  said.textContent = "";
  setTimeout(() => { said.textContent = words; }, 50);
}

function select(element) {
  const range = document.createRange();
  range.selectNodeContents(element);
  getSelection().removeAllRanges();
  getSelection().addRange(range);
}

async function copy(source) {
  try {
    await navigator.clipboard.writeText(source.textContent);
    return true;
  } catch {
    // No clipboard without https. The old way copies what is marked.
    select(source);
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
  button.addEventListener("click", async () => {
    if (await copy(document.getElementById(button.dataset.copy))) {
      tell(button, "Copy");
    } else {
      say("The text is marked. Copy it with Control C or Command C");
    }
  });
}

for (const button of all("[data-show]")) {
  const input = document.getElementById(button.dataset.show);
  const name = button.getAttribute("aria-label").replace("Show ", "");
  const show = (visible) => {
    input.type = visible ? "text" : "password";
    button.textContent = visible ? "Hide" : "Show";
    button.setAttribute("aria-label", `${visible ? "Hide" : "Show"} ${name}`);
  };
  button.hidden = false;
  button.addEventListener("click", () => {
    const visible = input.type === "password";
    show(visible);
    say(`The ${name} is ${visible ? "shown" : "hidden"}`);
  });
  // A browser remembers what a text field held, but not a password field.
  input.form.addEventListener("submit", () => show(false));
  addEventListener("pagehide", () => show(false));
}

for (const button of all("[data-print]")) {
  button.hidden = false;
  button.addEventListener("click", () => print());
}

for (const form of all("[data-passkey]")) {
  const { passkey: kind, parse, options: path } = form.dataset, note = form.querySelector("[role=alert]");
  if (!window.PublicKeyCredential?.[parse]) continue;
  form.hidden = false;
  let busy = false;
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    if (busy) return;
    busy = note.hidden = true;
    try {
      const reply = await fetch(path, { method: "POST", body: new URLSearchParams(new FormData(form)) });
      const options = await reply.json().catch(() => null); // or the next page says why
      const made = options && await navigator.credentials[kind]({ publicKey: PublicKeyCredential[parse](options) });
      form.querySelector("[name=credential]").value = made && JSON.stringify(made);
      form.submit();
    } catch {
      busy = note.hidden = false;
    }
  });
  addEventListener("pagehide", () => { busy = false; });
}

// A second click would send a code that is used up.
for (const form of all("[data-once]")) {
  let sent = false;
  form.addEventListener("submit", (event) => {
    if (sent) event.preventDefault();
    sent = true;
  });
  addEventListener("pagehide", () => { sent = false; });
}

const format = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "short" });
const clock = new Intl.DateTimeFormat(undefined, { timeStyle: "short" });

for (const time of all("time")) {
  const moment = new Date(time.dateTime);
  if (moment.getTimezoneOffset() === 0) continue;
  time.title = `${format.format(moment)}, your time`;
  if (!time.closest("dl")) continue;
  const sameDay = moment.getDate() === moment.getUTCDate();
  time.append(` (${(sameDay ? clock : format).format(moment)} your time)`);
}

for (const link of all(".anchor")) {
  link.addEventListener("click", () => navigator.clipboard?.writeText(link.href).then(() => tell(link, "#")));
}

const toc = document.querySelector(".toc");

if (toc) {
  const mark = (links, fits) => { for (const one of links) one.ariaCurrent = fits(one) ? "true" : null; };
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
  input.addEventListener("input", () => {
    const words = input.value.trim().toLowerCase();
    for (const item of items) item.hidden = !item.textContent.toLowerCase().includes(words);
    codes.open = words !== "";
    none.hidden = items.some((item) => !item.hidden);
  });
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
