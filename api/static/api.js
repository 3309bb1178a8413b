// Talks to our own API: makes jobs, waits for their end, turns problems into sentences.

import { askForKey, keyHeaders } from "./key.js";

const WAIT_S = 20;
const PAUSE_MS = 700;
const FINAL = new Set(["succeeded", "failed", "canceled"]);

export class Refused extends Error {}

export const isFinal = (job) => FINAL.has(job.status);

export function makeFromFile(file) {
  const form = new FormData();
  form.append("file", file);
  return ask("/v1/jobs", { method: "POST", body: form });
}

export function makeFromAddress(url) {
  return post("/v1/jobs", { url });
}

export const cancel = (job) => ask(`/v1/jobs/${job.id}/cancel`, { method: "POST" });

export const readModel = () => ask("/v1/model");

export function post(path, document = {}, method = "POST") {
  return ask(path, { method, headers: { "Content-Type": "application/json" }, body: JSON.stringify(document) });
}

// Follows a job to its end. A server that went away for a moment is asked again.
export async function* follow(job) {
  let misses = 0;
  while (!isFinal(job)) {
    const started = performance.now();
    try {
      job = await ask(`/v1/jobs/${job.id}?wait=${WAIT_S}`);
      misses = 0;
    } catch (error) {
      if (error instanceof Refused && error.status < 500 && error.status !== 429) throw error;
      misses += 1;
      if (misses > 20) throw error;
    }
    yield job;
    // An answer that came at once means that there was no room to wait.
    if (!isFinal(job) && performance.now() - started < 1000) await pause(PAUSE_MS * Math.min(1 + misses, 5));
  }
}

export async function ask(path, options = {}) {
  let answer;
  try {
    answer = await fetch(path, { ...options, headers: { ...options.headers, ...keyHeaders() } });
  } catch {
    throw new Refused("The service does not answer. Is it running?");
  }
  const document = await answer.json().catch(() => ({}));
  if (answer.ok) return document;
  const error = refusal(answer.status, document);
  if (answer.status === 401) askForKey(error.message);
  throw error;
}

function refusal(status, problem) {
  const words = problem.errors?.length ? problem.errors.map((each) => `${each.field}: ${each.message}`).join("; ") : problem.detail;
  const error = new Refused(sentence(words || `The service answered ${status}.`));
  error.status = status;
  error.code = problem.code;
  return error;
}

export function sentence(text) {
  const trimmed = text.trim();
  return trimmed.charAt(0).toUpperCase() + trimmed.slice(1) + (/[.!?]$/.test(trimmed) ? "" : ".");
}

const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
