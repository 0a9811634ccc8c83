// The language of the page, and what scripts say in it (templatetags/shown.py).

export const language = document.documentElement.lang;
export const words = JSON.parse(document.querySelector("meta[name=words]").content);

// A sentence with its blanks filled: fill("mean per {step}", { step: "9 min" }).
export function fill(sentence, blanks) {
  return sentence.replace(/\{(\w+)\}/g, (_, name) => blanks[name]);
}
