// The language of the page, and the translated messages for scripts (templatetags/display.py).

export const language = document.documentElement.lang;
export const words = JSON.parse(document.querySelector("meta[name=words]").content);

// Fill in the placeholders of a message: fill("{step} average", { step: "9 min" }).
export function fill(sentence, blanks) {
  return sentence.replace(/\{(\w+)\}/g, (_, name) => blanks[name]);
}
