// The webhooks page: endpoints with their health, deliveries with their attempts. Refreshed every few seconds.

import { post, send, sentence } from "./api.js";
import { onKey } from "./key.js";

const REFRESH_MS = 3000;

const endpoints = document.getElementById("endpoints");
const deliveries = document.getElementById("deliveries");
const choice = document.getElementById("status");
const more = document.getElementById("more");
const words = document.getElementById("log-words");

const secrets = new Map(); // by endpoint id; shown until the page is closed
let pages = 1;

const copy = (id) => document.getElementById(id).content.firstElementChild.cloneNode(true);
const at = (moment) => new Date(moment).toLocaleString();

function ago(seconds) {
  const [unit, size] = [["day", 86400], ["hour", 3600], ["minute", 60]].find(([, size]) => seconds >= size) ?? ["second", 1];
  const count = Math.floor(seconds / size);
  return `${count} ${unit}${count === 1 ? "" : "s"}`;
}

// Returns the state of an endpoint (which colors its dot) and a description for people.
function health(endpoint) {
  const pending = endpoint.waiting ? ` ${endpoint.waiting} pending, the oldest for ${ago(endpoint.oldest_waiting_s)}.` : "";
  if (!endpoint.enabled) return ["disabled", `Disabled: ${(endpoint.disabled_reason ?? "").replaceAll("_", " ")}.${pending}`];
  if (endpoint.failing_since) {
    return ["failing", `Failing since ${at(endpoint.failing_since)}: ${endpoint.failures} consecutive failures.${pending}`];
  }
  return ["healthy", `Healthy.${pending} Subscribed to ${endpoint.event_types.join(", ")}.`];
}

// Updates a list to show the items. Existing elements are reused, so they keep their focus and stay expanded.
function sync(list, items, make, update) {
  const known = new Map([...list.children].map((element) => [element.dataset.id, element]));
  items.forEach((item, index) => {
    const element = known.get(item.id) ?? make(item);
    known.delete(item.id);
    element.dataset.id = item.id;
    update(element, item);
    if (list.children[index] !== element) list.insertBefore(element, list.children[index] ?? null);
  });
  for (const element of known.values()) element.remove();
}

function makeEndpoint({ id, url }) {
  const element = copy("endpoint");
  const find = (selector) => element.querySelector(selector);
  const path = `/v1/webhook-endpoints/${id}`;
  const act = (selector, action) =>
    find(selector).addEventListener("click", async () => {
      const error = find(".error");
      try {
        await action();
        error.textContent = "";
      } catch (failure) {
        error.textContent = sentence(failure.message);
      }
      refresh();
    });
  act(".test", () => post(`${path}/test`));
  act(".replay-failed", async () => {
    const { replayed } = await post(`${path}/replay`, { since: new Date(0).toISOString() });
    find(".said").textContent = `${replayed} ${replayed === 1 ? "delivery" : "deliveries"} replayed.`;
  });
  act(".show-secret", async () => secrets.set(id, (await send(`${path}/secret`)).secret));
  act(".toggle", () => post(path, { enabled: element.dataset.health === "disabled" }, "PATCH"));
  act(".delete", async () => {
    if (confirm(`Delete ${url} and its deliveries?`)) await send(path, { method: "DELETE" });
  });
  return element;
}

function updateEndpoint(element, endpoint) {
  const find = (selector) => element.querySelector(selector);
  [element.dataset.health, find(".words").textContent] = health(endpoint);
  find(".url").textContent = endpoint.url;
  find(".toggle").textContent = endpoint.enabled ? "Disable" : "Enable";
  find(".secret").hidden = !secrets.has(endpoint.id);
  find(".secret code").textContent = secrets.get(endpoint.id) ?? "";
}

function makeDelivery({ id }) {
  const element = copy("delivery");
  const find = (selector) => element.querySelector(selector);
  find("details").addEventListener("toggle", () => find("details").open && showAttempts(id, find(".detail")));
  find(".replay").addEventListener("click", () =>
    post(`/v1/webhook-deliveries/${id}/replay`).then(refresh, (error) => (words.textContent = sentence(error.message))),
  );
  return element;
}

function updateDelivery(element, delivery) {
  const find = (selector) => element.querySelector(selector);
  const attempts = `${delivery.tries} ${delivery.tries === 1 ? "attempt" : "attempts"}`;
  const next = delivery.next_attempt_at ? `, next ${at(delivery.next_attempt_at)}` : "";
  const summary = `${delivery.status} after ${attempts}${next} → ${delivery.url}`;
  if (find("details").open && find(".what").textContent !== summary) showAttempts(delivery.id, find(".detail"));
  element.dataset.status = delivery.status;
  find(".type").textContent = delivery.event_type;
  find(".what").textContent = summary;
  find(".when").textContent = at(delivery.created_at);
}

async function showAttempts(id, container) {
  const delivery = await send(`/v1/webhook-deliveries/${id}`);
  const lines = delivery.attempts.map((attempt) => {
    const outcome = attempt.error ?? attempt.status_code;
    const probe = attempt.trigger === "probe" ? " (probe)" : "";
    return `${at(attempt.started_at)}  ${outcome}${probe}  ${Math.round(attempt.latency_ms)} ms  ${attempt.answer ?? ""}`.trimEnd();
  });
  const log = document.createElement("pre");
  log.textContent = [`${delivery.event_id}`, ...(lines.length ? lines : ["no attempts yet"]), "", JSON.stringify(delivery.body, null, 2)].join("\n");
  container.replaceChildren(log);
}

const listPath = (from) =>
  `/v1/webhook-deliveries?limit=20${choice.value ? `&status=${choice.value}` : ""}${from ? `&cursor=${encodeURIComponent(from)}` : ""}`;

async function refresh() {
  try {
    const [{ endpoints: found }, page] = await Promise.all([send("/v1/webhook-endpoints"), readDeliveries()]);
    sync(endpoints, found, makeEndpoint, updateEndpoint);
    sync(deliveries, page, makeDelivery, updateDelivery);
    document.getElementById("no-endpoints").hidden = found.length > 0;
    words.textContent = page.length ? "" : choice.value ? `No ${choice.value} deliveries.` : "No deliveries yet.";
  } catch (error) {
    words.textContent = sentence(error.message);
  }
}

// Reads as many pages as the user has loaded.
async function readDeliveries() {
  const found = [];
  let cursor = null;
  for (let page = 0; page < pages; page += 1) {
    const answer = await send(listPath(cursor));
    found.push(...answer.deliveries);
    cursor = answer.next_cursor;
    if (!cursor) break;
  }
  more.hidden = !cursor;
  return found;
}

more.addEventListener("click", () => {
  pages += 1;
  refresh();
});

document.getElementById("add").addEventListener("submit", async (event) => {
  event.preventDefault();
  const field = document.getElementById("url");
  const message = document.getElementById("add-words");
  try {
    const endpoint = await post("/v1/webhook-endpoints", { url: field.value.trim() });
    secrets.set(endpoint.id, endpoint.secret);
    field.value = message.textContent = "";
    await refresh();
  } catch (error) {
    message.textContent = sentence(error.message);
    field.focus();
  }
});

choice.addEventListener("change", refresh);
onKey(refresh);
setInterval(() => document.hidden || refresh(), REFRESH_MS);
refresh();
