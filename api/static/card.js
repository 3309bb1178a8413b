// A card on the page: the image, the job's status, and the attributes with their scores.

import { isFinal, sentence } from "./api.js";

const LABELS = {
  gender: "Gender",
  baseColour: "Colour",
  season: "Season",
  usage: "Usage",
  articleType: "Article type",
  subCategory: "Sub-category",
  masterCategory: "Category",
};
const NAME = "productDisplayName";
const STEPS = { queued_ms: "queued", fetch_ms: "fetch", decode_ms: "decode", model_ms: "model", caption_ms: "caption" };

// Never "100 %", because no prediction is certain.
const percent = (score) => (score > 0.99 && score < 1 ? "> 99\u00a0%" : `${Math.round(score * 100)}\u00a0%`);
const width = (score) => `${score * 100}%`;
const duration = (ms) => (ms < 1000 ? `${Math.round(ms)}\u00a0ms` : `${(ms / 1000).toFixed(1)}\u00a0s`);
const label = (key) => LABELS[key] ?? key;

export class Card {
  constructor(source, file) {
    this.element = document.getElementById("card").content.firstElementChild.cloneNode(true);
    this.show(".source", source);
    this.showImage(file, source);
  }

  find(selector) {
    return this.element.querySelector(selector);
  }

  show(selector, text) {
    this.find(selector).textContent = text;
  }

  showImage(file, source) {
    const image = this.find("img");
    const placeholder = this.find(".no-picture");
    const showPlaceholder = (text) => {
      image.hidden = true;
      placeholder.textContent = text;
      placeholder.hidden = false;
    };
    // Images at URLs are not shown: the page loads nothing from other hosts.
    if (!file) return showPlaceholder(hostOf(source));
    const url = URL.createObjectURL(file);
    image.onload = () => URL.revokeObjectURL(url);
    image.onerror = () => showPlaceholder(file.name.split(".").pop().toUpperCase());
    image.src = url;
    image.hidden = false;
  }

  showState(state, words) {
    this.element.dataset.state = state;
    this.show(".words", words);
    this.find(".cancel").hidden = !["queued", "processing"].includes(state);
    this.find(".again").hidden = !["failed", "refused"].includes(state);
  }

  showJob(job) {
    this.showState(job.status, statusText(job));
    this.find(".raw").hidden = false;
    this.show(".raw pre", JSON.stringify(job, null, 2));
    if (job.metadata) this.showResult(job);
    if (isFinal(job)) this.element.removeAttribute("aria-busy");
    else this.element.setAttribute("aria-busy", "true");
  }

  showResult(job) {
    this.show(".name", job.metadata[NAME] ?? "No display name");
    const keys = Object.keys(job.metadata).filter((key) => key !== NAME);
    this.find(".attributes").replaceChildren(...keys.map((key) => attribute(key, job.metadata[key], job.predictions?.[key])));
    this.show(".timings", timings(job));
  }
}

function statusText(job) {
  switch (job.status) {
    case "queued":
      return job.error ? `Waiting for a retry. ${sentence(job.error.message)}` : "Waiting for a worker …";
    case "processing":
      return "Processing …";
    case "canceled":
      return "Canceled.";
    case "failed":
      return job.error ? sentence(job.error.message) : "Failed.";
    default:
      // Below 0.5 no values are returned. null: the model does not detect non-products.
      return job.in_domain !== null && job.in_domain < 0.5 ? "This does not look like a product photo." : "Done.";
  }
}

function attribute(key, value, prediction) {
  const row = document.getElementById("attribute").content.firstElementChild.cloneNode(true);
  const find = (selector) => row.querySelector(selector);
  find("dt").textContent = label(key);
  const guess = prediction?.alternatives?.[0];
  row.classList.toggle("unsure", value === null);
  find(".value").replaceChildren(...(value === null ? unsure(guess) : [value]));
  if (prediction) showScore(find, label(key), prediction);
  else find(".meter").remove();
  row.title = (prediction?.alternatives ?? []).map((each) => `${each.value} ${percent(each.score)}`).join(" · ");
  return row;
}

function unsure(guess) {
  const words = document.createElement("em");
  words.textContent = "not sure";
  if (!guess) return [words];
  return [words, ` – possibly ${guess.value}`];
}

function showScore(find, name, { score, threshold }) {
  find(".fill").style.width = width(score);
  // A threshold above 1 means that the model never returns a value for this attribute.
  find(".mark").hidden = threshold > 1;
  find(".mark").style.left = width(Math.min(threshold, 1));
  find(".score").textContent = percent(score);
  find(".meter").setAttribute("aria-label", `${name}: score ${percent(score)}, ${threshold > 1 ? "always below the threshold" : `threshold ${percent(threshold)}`}`);
}

function timings(job) {
  const parts = Object.entries(STEPS)
    .filter(([key]) => job.timings?.[key] != null)
    .map(([key, step]) => `${step} ${duration(job.timings[key])}`);
  const { width, height, format } = job.asset;
  const image = width ? [`${width} × ${height} ${format}`] : [];
  const model = job.model ? [`${job.model.bundle} ${job.model.version}`] : [];
  return [...image, ...parts, ...model].join(" · ");
}

function hostOf(address) {
  try {
    return new URL(address).host;
  } catch {
    return "";
  }
}
