// The page of webhooks: endpoints and how they fare, deliveries and their attempts; refreshed every few seconds.

import { ask, post, sentence } from "./api.js";
import { onKey } from "./key.js";

const REFRESH_MS = 3000;

const endpoints = document.getElementById("endpoints");
const deliveries = document.getElementById("deliveries");
const choice = document.getElementById("status");
const more = document.getElementById("more");
const words = document.getElementById("log-words");

const secrets = new Map(); // by endpoint: shown until the page is left
let pages = 1;

const copy = (id) => document.getElementById(id).content.firstElementChild.cloneNode(true);
const at = (moment) => new Date(moment).toLocaleString();

function ago(seconds) {
  const [unit, size] = [["day", 86400], ["hour", 3600], ["minute", 60]].find(([, size]) => seconds >= size) ?? ["second", 1];
  const count = Math.floor(seconds / size);
  return `${count} ${unit}${count === 1 ? "" : "s"}`;
}

// One sentence or two about an endpoint, and the colour of its dot.
function health(endpoint) {
  const waiting = endpoint.waiting ? ` ${endpoint.waiting} waiting, the oldest for ${ago(endpoint.oldest_waiting_s)}.` : "";
  if (!endpoint.enabled) return ["off", `Disabled: ${(endpoint.disabled_reason ?? "").replaceAll("_", " ")}.${waiting}`];
  if (endpoint.failing_since) return ["failing", `Failing since ${at(endpoint.failing_since)}, ${endpoint.failures} in a row.${waiting}`];
  return ["well", `Well.${waiting} Wants ${endpoint.event_types.join(", ")}.`];
}

// Brings a list in line with the items: what is there stays the same element, with its focus and what is unfolded.
function sync(list, items, make, update) {
  const known = new Map([...list.children].map((element) => [element.dataset.id, element]));
  items.forEach((item, place) => {
    const element = known.get(item.id) ?? make(item);
    known.delete(item.id);
    element.dataset.id = item.id;
    update(element, item);
    if (list.children[place] !== element) list.insertBefore(element, list.children[place] ?? null);
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
      } catch (refused) {
        error.textContent = sentence(refused.message);
      }
      refresh();
    });
  act(".test", () => post(`${path}/test`));
  act(".replay-failed", async () => {
    const { replayed } = await post(`${path}/replay`, { since: new Date(0).toISOString() });
    find(".said").textContent = `${replayed} begin anew.`;
  });
  act(".show-secret", async () => secrets.set(id, (await ask(`${path}/secret`)).secret));
  act(".toggle", () => post(path, { enabled: element.dataset.health === "off" }, "PATCH"));
  act(".delete", async () => {
    if (confirm(`Delete ${url} with its log?`)) await ask(path, { method: "DELETE" });
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
  const tries = `${delivery.tries} ${delivery.tries === 1 ? "try" : "tries"}`;
  const next = delivery.next_attempt_at ? `, next ${at(delivery.next_attempt_at)}` : "";
  const what = `${delivery.status} after ${tries}${next} → ${delivery.url}`;
  if (find("details").open && find(".what").textContent !== what) showAttempts(delivery.id, find(".detail"));
  element.dataset.status = delivery.status;
  find(".type").textContent = delivery.event_type;
  find(".what").textContent = what;
  find(".when").textContent = at(delivery.created_at);
}

async function showAttempts(id, where) {
  const delivery = await ask(`/v1/webhook-deliveries/${id}`);
  const lines = delivery.attempts.map((attempt) => {
    const came = attempt.error ?? attempt.status_code;
    const probe = attempt.trigger === "probe" ? " (probe)" : "";
    return `${at(attempt.started_at)}  ${came}${probe}  ${Math.round(attempt.latency_ms)} ms  ${attempt.answer ?? ""}`.trimEnd();
  });
  const log = document.createElement("pre");
  log.textContent = [`${delivery.event_id}`, ...(lines.length ? lines : ["no attempt yet"]), "", JSON.stringify(delivery.body, null, 2)].join("\n");
  where.replaceChildren(log);
}

const listPath = (from) =>
  `/v1/webhook-deliveries?limit=20${choice.value ? `&status=${choice.value}` : ""}${from ? `&cursor=${encodeURIComponent(from)}` : ""}`;

async function refresh() {
  try {
    const [{ endpoints: found }, page] = await Promise.all([ask("/v1/webhook-endpoints"), readDeliveries()]);
    sync(endpoints, found, makeEndpoint, updateEndpoint);
    sync(deliveries, page, makeDelivery, updateDelivery);
    document.getElementById("no-endpoints").hidden = found.length > 0;
    words.textContent = page.length ? "" : choice.value ? `None is ${choice.value}.` : "Nothing has been sent yet.";
  } catch (error) {
    words.textContent = sentence(error.message);
  }
}

// As many pages as the reader has asked for.
async function readDeliveries() {
  const found = [];
  let cursor = null;
  for (let page = 0; page < pages; page += 1) {
    const answer = await ask(listPath(cursor));
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
  const said = document.getElementById("add-words");
  try {
    const endpoint = await post("/v1/webhook-endpoints", { url: field.value.trim() });
    secrets.set(endpoint.id, endpoint.secret);
    field.value = said.textContent = "";
    await refresh();
  } catch (error) {
    said.textContent = sentence(error.message);
    field.focus();
  }
});

choice.addEventListener("change", refresh);
onKey(refresh);
setInterval(() => document.hidden || refresh(), REFRESH_MS);
refresh();
