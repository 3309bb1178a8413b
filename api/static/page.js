// The page: accepts images by drop, paste, file dialog or URL, and shows a card for each.

import { cancel, createFromFile, createFromUrl, follow, isFinal, readModel } from "./api.js";
import { Card } from "./card.js";
import { onKey } from "./key.js";

const MAX_PARALLEL = 4;

const drop = document.getElementById("drop");
const files = document.getElementById("files");
const url = document.getElementById("url");
const answers = document.getElementById("answers");

const waiting = [];
let running = 0;

function describe(source, file, create) {
  const card = new Card(source, file);
  card.showState("sending", file ? "Waiting for upload …" : "Sending …");
  answers.prepend(card.element);
  card.find(".again").addEventListener("click", () => enqueue(card, create));
  enqueue(card, create);
}

// Limits parallel requests, so that a folder of images does not occupy all of the browser's connections.
function enqueue(card, create) {
  waiting.push(() => run(card, create));
  next();
}

async function next() {
  if (running >= MAX_PARALLEL || waiting.length === 0) return;
  running += 1;
  try {
    await waiting.shift()();
  } finally {
    running -= 1;
    next();
  }
}

async function run(card, create) {
  card.showState("sending", "Sending …");
  try {
    let job = await create();
    card.find(".cancel").onclick = () => cancel(job).then((now) => card.showJob(now), () => {});
    card.showJob(job);
    for await (job of follow(job)) card.showJob(job);
    if (isFinal(job)) announce(card.find(".name").textContent || card.find(".words").textContent);
  } catch (error) {
    card.showState("refused", error.message);
    card.element.dataset.code = error.code ?? "";
    announce(error.message);
  }
}

// Announces each finished job to screen readers.
const announce = (text) => (document.getElementById("said").textContent = text);

function submitFiles(list) {
  // Each card is added at the top, so the last file goes first.
  for (const file of [...list].reverse()) describe(file.name, file, () => createFromFile(file));
}

function submitUrl(text) {
  const address = text.trim();
  const isValid = /^(https?|s3):\/\/\S+$/i.test(address);
  showUrlError(isValid ? "" : "Enter the full URL, such as https://shop.example/shirt.jpg");
  if (!isValid) return;
  url.value = "";
  describe(withoutSecrets(address), null, () => createFromUrl(address));
}

// Query strings and passwords are used for fetching, but never shown.
const withoutSecrets = (address) => address.split(/[?#]/)[0].replace(/\/\/[^/@]*@/, "//");

function showUrlError(text) {
  const error = document.getElementById("url-error");
  error.textContent = text;
  error.hidden = !text;
  url.setAttribute("aria-invalid", String(Boolean(text)));
  if (text) url.focus();
}

document.getElementById("ask").addEventListener("submit", (event) => {
  event.preventDefault();
  submitUrl(url.value);
});
files.addEventListener("change", () => {
  submitFiles(files.files);
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
  if (event.dataTransfer.files.length) submitFiles(event.dataTransfer.files);
  else submitUrl(event.dataTransfer.getData("text/uri-list") || event.dataTransfer.getData("text/plain"));
});
window.addEventListener("paste", (event) => {
  if (event.clipboardData.files.length) {
    event.preventDefault();
    submitFiles(event.clipboardData.files);
  } else if (!["url", "key"].includes(document.activeElement.id)) {
    submitUrl(event.clipboardData.getData("text/plain"));
  }
});

function showModel() {
  readModel().then(
    (model) => (document.getElementById("model").textContent += ` Model: ${model.bundle} ${model.version}.`),
    () => {},
  );
}

// Once a key is entered, resends everything that was rejected for lack of a valid key.
onKey(() => {
  showModel();
  for (const again of document.querySelectorAll("[data-state=refused][data-code^=key_] .again")) again.click();
});
showModel();
