// The API key, for services that ask for one: kept for this tab only, and asked for when the API first wants it.

const NAME = "enrich-key";

export const keyHeaders = () => {
  const key = sessionStorage.getItem(NAME);
  return key ? { Authorization: `Bearer ${key}` } : {};
};

const form = document.getElementById("key-form");
const field = document.getElementById("key");

// Shows the field with the API's own words. Called for every 401; the key that was refused is forgotten.
export function askForKey(words) {
  sessionStorage.removeItem(NAME);
  document.getElementById("key-words").textContent = words;
  if (form.hidden) {
    form.hidden = false;
    field.focus();
  }
}

// Calls back when the user has given a key.
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
