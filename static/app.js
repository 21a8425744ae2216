// What a page cannot do without a script: copy, print, show a password, use a passkey, tell the local time.
// Everything else works without.

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

for (const button of document.querySelectorAll("[data-copy]")) {
  button.hidden = false;
  button.addEventListener("click", async () => {
    if (await copy(document.getElementById(button.dataset.copy))) {
      button.firstChild.data = "Copied";
      say("Copied");
      setTimeout(() => { button.firstChild.data = "Copy"; }, 2000);
    } else {
      say("The text is marked. Copy it with Control C or Command C");
    }
  });
}

for (const button of document.querySelectorAll("[data-show]")) {
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
    say(visible ? `The ${name} is shown` : `The ${name} is hidden`);
  });
  // A browser remembers what a text field held, but not a password field.
  input.form.addEventListener("submit", () => show(false));
  addEventListener("pagehide", () => show(false));
}

for (const button of document.querySelectorAll("[data-print]")) {
  button.hidden = false;
  button.addEventListener("click", () => print());
}

for (const form of document.querySelectorAll("[data-passkey]")) {
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
for (const form of document.querySelectorAll("[data-once]")) {
  let sent = false;
  form.addEventListener("submit", (event) => {
    if (sent) event.preventDefault();
    sent = true;
  });
  addEventListener("pagehide", () => { sent = false; });
}

const format = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "short" });
const clock = new Intl.DateTimeFormat(undefined, { timeStyle: "short" });

for (const time of document.querySelectorAll("time")) {
  const moment = new Date(time.dateTime);
  if (moment.getTimezoneOffset() === 0) continue;
  time.title = `${format.format(moment)}, your time`;
  if (!time.closest("dl")) continue;
  const sameDay = moment.getDate() === moment.getUTCDate();
  time.append(` (${(sameDay ? clock : format).format(moment)} your time)`);
}
