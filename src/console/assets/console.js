// What HTML alone can't do: copying, dialogs, menus that close, counters. Every page works without it.
'use strict';

const dialog = () => document.getElementById('dialog');
let opener = null;

// A dialog is a fragment that htmx puts into #dialog.
document.addEventListener('click', (event) => {
  const asks = event.target.closest('[data-hx-target="#dialog"]');
  if (asks && !dialog().contains(asks)) opener = asks.closest('details.menu')?.querySelector('summary') ?? asks;
  const copies = event.target.closest('[data-copy]');
  if (copies) copy(copies);
  if (event.target.closest('[data-close]')) {
    event.preventDefault();
    dialog().close();
  }
  for (const menu of document.querySelectorAll('details.menu[open]')) {
    if (!menu.contains(event.target) || event.target.closest('.sheet a, .sheet button')) menu.open = false;
  }
});

document.addEventListener('keydown', (event) => {
  if (event.key !== 'Escape') return;
  for (const menu of document.querySelectorAll('details.menu[open]')) {
    menu.open = false;
    menu.querySelector('summary').focus();
  }
});

// What must not come back from the service (key material) stays here when a form comes back.
const kept = new Map();
document.addEventListener('htmx:beforeSwap', (event) => {
  if (event.target.id !== 'dialog') return;
  for (const input of dialog().querySelectorAll('[data-keep]')) kept.set(input.id, input.value);
});

document.addEventListener('htmx:afterSwap', (event) => {
  if (event.target.id !== 'dialog') return;
  for (const [id, value] of kept) {
    const input = document.getElementById(id);
    if (input) input.value = value;
  }
  kept.clear();
  // Named by what is in it, as long as there is something.
  dialog().setAttribute('aria-labelledby', 'dialog-title');
  if (!dialog().open) dialog().showModal();
  const first = dialog().querySelector('[aria-invalid="true"], [autofocus], input:not([type="hidden"]), textarea, select, button');
  first?.focus();
  count(dialog());
});

// What came instead of a fragment: the form stays as it was typed, and says what to do.
document.addEventListener('htmx:responseError', (event) => say(event.detail.xhr.status === 401 ? 'ended' : 'failed', event.detail.elt));
document.addEventListener('htmx:sendError', (event) => say('unreachable', event.detail.elt));

function say(what, element) {
  const template = document.getElementById(`say-${what}`);
  const place = element.closest('dialog, form, main') ?? document.querySelector('main');
  const inner = place.matches('dialog') ? place.firstElementChild ?? place : place;
  inner.querySelector(':scope > [data-said]')?.remove();
  inner.prepend(template.content.cloneNode(true));
}

document.addEventListener('DOMContentLoaded', () => {
  dialog()?.addEventListener('close', () => {
    // What is shown once has a way on, to a list that has the new entry; closed in whichever way, it is gone.
    const next = dialog().querySelector('[data-reload]')?.href;
    dialog().replaceChildren();
    dialog().removeAttribute('aria-labelledby');
    opener?.focus();
    opener = null;
    if (next) location.assign(next);
  });
  count(document);
});

// Lists that are here as a whole are searched as one types; without this, the form does it.
document.addEventListener('input', (event) => {
  const list = document.getElementById(event.target.dataset.filters ?? '');
  if (!list) return;
  const wanted = event.target.value.trim().toLowerCase();
  let found = 0;
  for (const entry of list.children) {
    entry.hidden = !entry.textContent.toLowerCase().includes(wanted);
    if (!entry.hidden) found += 1;
  }
  const none = document.getElementById(`${list.id}-none`);
  none.textContent = found ? '' : document.getElementById(`${list.id}-none-text`).content.textContent;
});

async function copy(button) {
  const told = button.textContent;
  try {
    await navigator.clipboard.writeText(button.dataset.copy);
    button.textContent = button.dataset.copied;
  } catch {
    button.textContent = button.dataset.failed;
  }
  setTimeout(() => { button.textContent = told; }, 2000);
}

// Counters beside long texts: in characters, or in bytes of UTF-8 where the limit is one of bytes.
function count(within) {
  for (const output of within.querySelectorAll('[data-counts]')) {
    const input = document.getElementById(output.dataset.counts);
    const size = () => output.dataset.unit === 'bytes' ? new TextEncoder().encode(input.value).length : [...input.value.normalize('NFC')].length;
    const show = () => { output.textContent = `${size()}/${output.dataset.most}`; };
    input.addEventListener('input', show);
    show();
  }
}

// A file that is too large is told before it is sent.
document.addEventListener('change', (event) => {
  const { mostBytes, tooLarge } = event.target.dataset;
  if (!mostBytes) return;
  const file = event.target.files[0];
  event.target.setCustomValidity(file && file.size > Number(mostBytes) ? tooLarge : '');
  event.target.reportValidity();
});

// How far the sending of a file is; once all is sent, the service is at work, for as long as that takes.
document.addEventListener('htmx:xhr:progress', (event) => {
  const bar = event.target.querySelector?.('[data-progress]');
  if (!bar || !event.detail.lengthComputable) return;
  if (event.detail.loaded < event.detail.total) {
    bar.max = event.detail.total;
    bar.value = event.detail.loaded;
  } else {
    bar.removeAttribute('value');
  }
});

// A page that came in place of another's content is read from its beginning.
document.addEventListener('htmx:afterSettle', (event) => {
  if (event.target.id === 'content') document.getElementById('content').focus();
});
