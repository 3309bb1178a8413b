// The page: takes pictures by drop, paste, file dialog or address, and puts a card for each.

import { cancel, follow, isFinal, makeFromAddress, makeFromFile, readModel } from "./api.js";
import { Card } from "./card.js";
import { onKey } from "./key.js";

const AT_ONCE = 4;

const drop = document.getElementById("drop");
const files = document.getElementById("files");
const url = document.getElementById("url");
const answers = document.getElementById("answers");

const waiting = [];
let running = 0;

function describe(source, file, make) {
  const card = new Card(source, file);
  card.showState("sending", file ? "Waiting to be sent …" : "Sending …");
  answers.prepend(card.element);
  card.find(".again").addEventListener("click", () => enqueue(card, make));
  enqueue(card, make);
}

// A folder full of pictures must not take every connection the browser has.
function enqueue(card, make) {
  waiting.push(() => run(card, make));
  next();
}

async function next() {
  if (running >= AT_ONCE || waiting.length === 0) return;
  running += 1;
  try {
    await waiting.shift()();
  } finally {
    running -= 1;
    next();
  }
}

async function run(card, make) {
  card.showState("sending", "Sending …");
  try {
    let job = await make();
    card.find(".cancel").onclick = () => cancel(job).then((now) => card.showJob(now), () => {});
    card.showJob(job);
    for await (job of follow(job)) card.showJob(job);
    if (isFinal(job)) say(card.find(".name").textContent || card.find(".words").textContent);
  } catch (error) {
    card.showState("refused", error.message);
    card.element.dataset.code = error.code ?? "";
    say(error.message);
  }
}

// For screen readers: one sentence per ended job.
const say = (text) => (document.getElementById("said").textContent = text);

function takeFiles(list) {
  // Each card goes on top, so the last comes first.
  for (const file of [...list].reverse()) describe(file.name, file, () => makeFromFile(file));
}

function takeAddress(text) {
  const address = text.trim();
  const isAddress = /^(https?|s3):\/\/\S+$/i.test(address);
  showAddressError(isAddress ? "" : "Write the address in full, such as https://shop.example/shirt.jpg");
  if (!isAddress) return;
  url.value = "";
  describe(withoutSecrets(address), null, () => makeFromAddress(address));
}

// Query strings and passwords are used, not shown.
const withoutSecrets = (address) => address.split(/[?#]/)[0].replace(/\/\/[^/@]*@/, "//");

function showAddressError(text) {
  const error = document.getElementById("url-error");
  error.textContent = text;
  error.hidden = !text;
  url.setAttribute("aria-invalid", String(Boolean(text)));
  if (text) url.focus();
}

document.getElementById("ask").addEventListener("submit", (event) => {
  event.preventDefault();
  takeAddress(url.value);
});
files.addEventListener("change", () => {
  takeFiles(files.files);
  files.value = "";
});
for (const name of ["dragenter", "dragover"]) {
  window.addEventListener(name, (event) => {
    event.preventDefault();
    drop.classList.add("over");
  });
}
window.addEventListener("dragleave", (event) => {
  if (event.relatedTarget === null) drop.classList.remove("over");
});
window.addEventListener("drop", (event) => {
  event.preventDefault();
  drop.classList.remove("over");
  if (event.dataTransfer.files.length) takeFiles(event.dataTransfer.files);
  else takeAddress(event.dataTransfer.getData("text/uri-list") || event.dataTransfer.getData("text/plain"));
});
window.addEventListener("paste", (event) => {
  if (event.clipboardData.files.length) {
    event.preventDefault();
    takeFiles(event.clipboardData.files);
  } else if (!["url", "key"].includes(document.activeElement.id)) {
    takeAddress(event.clipboardData.getData("text/plain"));
  }
});

function showModel() {
  readModel().then(
    (model) => (document.getElementById("model").textContent += ` Model: ${model.bundle} ${model.version}.`),
    () => {},
  );
}

// What was refused for want of a key is sent by itself now.
onKey(() => {
  showModel();
  for (const again of document.querySelectorAll("[data-state=refused][data-code^=key_] .again")) again.click();
});
showModel();
