// A notebook in Markdown. Each note is one key of session.state, so it is durable and only what changed is written.

import fs from "node:fs/promises";
import path from "node:path";

import { App, AppError, serve } from "../../sdk/node/index.js";
import { toHtml } from "./markdown.mjs";

const refuse = (message, details) => new AppError("invalid_request", message, { details });

class MarkdownNotes extends App {
  html = new Map(); // id -> what it is rendered to: memory, made again when it is gone

  add(input, { state }) {
    const note = noteOf(input);
    const number = state.get("next", 1);
    state.set("next", number + 1).set(`note ${number}`, note);
    return { id: number, title: note.title };
  }

  get(input) {
    const note = this._note(input);
    return { id: input.id, ...note, html: this._html(input.id, note) };
  }

  list(input) {
    const tag = input?.tag;
    const notes = this._notes().filter(({ tags }) => tag === undefined || tags.includes(tag));
    return { notes: notes.map(({ id, title, tags }) => ({ id, title, tags })) };
  }

  search(input) {
    const words = String(input?.words ?? "")
      .toLowerCase()
      .split(/\s+/)
      .filter(Boolean);
    if (!words.length) throw refuse('search takes {"words": TEXT}');
    const found = this._notes().filter(({ title, text }) => {
      const all = `${title}\n${text}`.toLowerCase();
      return words.every((word) => all.includes(word));
    });
    return { notes: found.map(({ id, title }) => ({ id, title })) };
  }

  remove(input, session) {
    const { title } = this._note(input);
    session.state.delete(`note ${input.id}`);
    this.html.delete(input.id);
    return { removed: title };
  }

  /** Takes many notes, a hundred to a commit: a cancel or a crash keeps those that were committed. */
  async load(input, session) {
    if (!Array.isArray(input?.notes)) throw refuse('load takes {"notes": [{"title", "text", "tags"}]}');
    for (const [index, note] of input.notes.entries()) {
      if (session.cancelRequested) throw new AppError("cancelled", `stopped after ${index} notes`);
      this.add(note, session);
      if (index % 100 === 99) {
        await session.checkpoint();
        session.emit({ loaded: index + 1 });
      }
    }
    session.log.info("loaded", { notes: input.notes.length });
    return { loaded: input.notes.length };
  }

  /** Writes all notes as one page into the session's folder, and shows each chapter as it is done. */
  async *book(input, session) {
    const name = "notebook.html";
    const file = path.join(session.folder, name);
    if (!session.resources.has(name)) {
      const close = () => fs.rm(file, { force: true });
      await session.resources.add({ id: name, kind: "file", cost: 1, cleanup: { path: file }, close });
    }
    const page = await fs.open(file, "w");
    try {
      let chapters = 0;
      await page.write("<!doctype html><meta charset=utf-8><title>Notebook</title>\n");
      for (const note of this._notes()) {
        await page.write(`<article id="${note.id}">\n${this._html(note.id, note)}</article>\n`);
        yield { chapters: (chapters += 1), title: note.title };
      }
      return { chapters, file: name, bytes: (await page.stat()).size };
    } finally {
      await page.close();
    }
  }

  _notes() {
    const found = [];
    for (const [key, note] of this.session.state) {
      if (key.startsWith("note ")) found.push({ id: Number(key.slice(5)), ...note });
    }
    return found.sort((one, other) => one.id - other.id);
  }

  _note(input) {
    const note = this.session.state.get(`note ${input?.id}`);
    if (!note)
      throw refuse(`there is no note ${JSON.stringify(input?.id)}`, { ids: this._notes().map(({ id }) => id) });
    return note;
  }

  _html(id, { title, text }) {
    if (!this.html.has(id)) this.html.set(id, toHtml(`# ${title}\n\n${text}`));
    return this.html.get(id);
  }
}

function noteOf(input) {
  const { title, text, tags = [] } = input ?? {};
  if (typeof title !== "string" || !title.trim() || typeof text !== "string") {
    throw refuse('a note is {"title": TEXT, "text": MARKDOWN, "tags": [TEXT]}');
  }
  if (!Array.isArray(tags) || tags.some((tag) => typeof tag !== "string")) throw refuse('"tags" is an array of text');
  return { title: title.trim(), text, tags };
}

serve(MarkdownNotes);
