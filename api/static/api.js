// Client of the API: creates jobs, waits until they are finished, turns problem documents into sentences.

import { askForKey, keyHeaders } from "./key.js";

const WAIT_S = 20;
const PAUSE_MS = 700;
const FINAL = new Set(["succeeded", "failed", "canceled"]);

export class RequestError extends Error {}

export const isFinal = (job) => FINAL.has(job.status);

export function createFromFile(file) {
  const form = new FormData();
  form.append("file", file);
  return send("/v1/jobs", { method: "POST", body: form });
}

export function createFromUrl(url) {
  return post("/v1/jobs", { url });
}

export const cancel = (job) => send(`/v1/jobs/${job.id}/cancel`, { method: "POST" });

export const readModel = () => send("/v1/model");

export function post(path, document = {}, method = "POST") {
  return send(path, { method, headers: { "Content-Type": "application/json" }, body: JSON.stringify(document) });
}

// Yields the job's states until it is finished. Retries while the server is unavailable.
export async function* follow(job) {
  let failures = 0;
  while (!isFinal(job)) {
    const started = performance.now();
    try {
      job = await send(`/v1/jobs/${job.id}?wait=${WAIT_S}`);
      failures = 0;
    } catch (error) {
      if (error instanceof RequestError && error.status < 500 && error.status !== 429) throw error;
      failures += 1;
      if (failures > 20) throw error;
    }
    yield job;
    // An immediate response means that all long-poll slots were taken.
    if (!isFinal(job) && performance.now() - started < 1000) await pause(PAUSE_MS * Math.min(1 + failures, 5));
  }
}

export async function send(path, options = {}) {
  let response;
  try {
    response = await fetch(path, { ...options, headers: { ...options.headers, ...keyHeaders() } });
  } catch {
    throw new RequestError("The service does not respond. Is it running?");
  }
  const document = await response.json().catch(() => ({}));
  if (response.ok) return document;
  const error = errorFrom(response.status, document);
  if (response.status === 401) askForKey(error.message);
  throw error;
}

function errorFrom(status, problem) {
  const text = problem.errors?.length ? problem.errors.map((each) => `${each.field}: ${each.message}`).join("; ") : problem.detail;
  const error = new RequestError(sentence(text || `The service responded with status ${status}.`));
  error.status = status;
  error.code = problem.code;
  return error;
}

export function sentence(text) {
  const trimmed = text.trim();
  return trimmed.charAt(0).toUpperCase() + trimmed.slice(1) + (/[.!?]$/.test(trimmed) ? "" : ".");
}

const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
