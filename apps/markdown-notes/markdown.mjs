// The part of Markdown that notes need: headings, paragraphs, lists, quotes, fenced code; emphasis, code and links within.

const escapes = { "&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;" };
const escape = (text) => text.replace(/[&<>"]/g, (character) => escapes[character]);

/** HTML of a text in Markdown; whatever HTML the text holds is shown, not used. */
export function toHtml(markdown) {
  const lines = markdown.split(/\r?\n/);
  let html = "";
  while (lines.length) html += block(lines);
  return html;
}

/** Takes the lines of the first block. */
function block(lines) {
  const first = lines[0];
  if (!first.trim()) {
    lines.shift();
    return "";
  }
  const heading = /^(#{1,6}) +(.*)$/.exec(first);
  if (heading) {
    lines.shift();
    const [, { length }, text] = heading;
    return `<h${length}>${inline(text)}</h${length}>\n`;
  }
  if (first.startsWith("```")) {
    lines.shift();
    const code = takeWhile(lines, (line) => !line.startsWith("```"));
    lines.shift();
    return `<pre><code>${escape(code.join("\n"))}</code></pre>\n`;
  }
  for (const [mark, outer, inner] of [
    [/^[-*] +/, "ul", "li"],
    [/^\d+\. +/, "ol", "li"],
    [/^> ?/, "blockquote", "p"],
  ]) {
    if (!mark.test(first)) continue;
    const items = takeWhile(lines, (line) => mark.test(line)).map((line) => inline(line.replace(mark, "")));
    return `<${outer}>\n${items.map((item) => `<${inner}>${item}</${inner}>\n`).join("")}</${outer}>\n`;
  }
  const begins = /^(#{1,6} |```|[-*] |\d+\. |> ?)/;
  const rest = [lines.shift(), ...takeWhile(lines, (line) => line.trim() && !begins.test(line))];
  return `<p>${inline(rest.join("\n"))}</p>\n`;
}

function takeWhile(lines, fits) {
  const end = lines.findIndex((line) => !fits(line));
  return lines.splice(0, end < 0 ? lines.length : end);
}

function inline(text) {
  // What stands in code is no mark, so it is looked for first.
  return text
    .split(/(`[^`]+`)/)
    .map((part, index) => (index % 2 ? `<code>${escape(part.slice(1, -1))}</code>` : marks(escape(part))))
    .join("");
}

function marks(text) {
  return text
    .replace(/\*\*(.+?)\*\*/g, "<strong>$1</strong>")
    .replace(/\*(.+?)\*/g, "<em>$1</em>")
    .replace(/\[([^\]]+)\]\((https?:[^\s)]+)\)/g, '<a href="$2">$1</a>');
}
