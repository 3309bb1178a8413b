// The API key, if the service requires one. Stored for this tab only; the form appears after the first 401.

const NAME = "enrich-key";

export const keyHeaders = () => {
  const key = sessionStorage.getItem(NAME);
  return key ? { Authorization: `Bearer ${key}` } : {};
};

const form = document.getElementById("key-form");
const field = document.getElementById("key");

// Shows the key form with the API's error message and removes the stored key. Called after every 401.
export function askForKey(message) {
  sessionStorage.removeItem(NAME);
  document.getElementById("key-words").textContent = message;
  if (form.hidden) {
    form.hidden = false;
    field.focus();
  }
}

// Calls `callback` whenever the user has entered a key.
export function onKey(callback) {
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    const key = field.value.trim();
    if (!key) return;
    sessionStorage.setItem(NAME, key);
    field.value = "";
    form.hidden = true;
    callback();
  });
}
