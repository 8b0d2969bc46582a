// Makes one tree of elements like another and touches nothing that is alike already: focus, selection, what is typed, what
// is folded out and how far something is scrolled stay.
//
// Children are matched by `id` or `data-key`, others in their order. What has `data-kept` stays as it is, even where the
// other tree lacks it: forms that somebody may be writing into, and what was said about the last request; `data-kept="used"`
// only while somebody does write into it. Without a key of its own it is known by what it is.

/** Whether an attribute is the page's user's to change. */
function isOwn({ nodeName }, name) {
  return name === "open" || name === "checked" || name === "data-sent" || (name === "value" && nodeName !== "PROGRESS");
}

export function morph(shown, fresh) {
  if (shown.isEqualNode(fresh)) return;
  takeAttributes(shown, fresh);
  const known = new Map();
  for (const child of shown.children) if (keyOf(child)) known.set(keyOf(child), child);
  const wantedKeys = new Set([...fresh.children].map(keyOf));
  let next = shown.firstChild;
  for (const wanted of [...fresh.childNodes]) {
    next = pastGone(next, wantedKeys);
    const key = keyOf(wanted);
    const match = key ? known.get(key) : next && !keyOf(next) && isAlike(next, wanted) ? next : undefined;
    if (!match) {
      shown.insertBefore(document.adoptNode(wanted), next);
      continue;
    }
    known.delete(key);
    if (match === next) next = next.nextSibling;
    else shown.insertBefore(match, next);
    take(match, wanted);
  }
  while (next) {
    const gone = next;
    next = next.nextSibling;
    if (!isKept(gone)) gone.remove();
  }
}

/** The next child that is wanted: what is gone is removed on the way, so that what follows it need not move; what is kept is
 * passed. */
function pastGone(child, wantedKeys) {
  let next = child;
  while (next && keyOf(next) && !wantedKeys.has(keyOf(next))) {
    const gone = next;
    next = next.nextSibling;
    if (!isKept(gone)) gone.remove();
  }
  return next;
}

function take(shown, fresh) {
  if (isKept(shown)) return;
  if (shown.nodeType !== Node.ELEMENT_NODE) {
    if (shown.data !== fresh.data) shown.data = fresh.data;
  } else if (shown.nodeName !== fresh.nodeName) {
    shown.replaceWith(document.adoptNode(fresh));
  } else {
    morph(shown, fresh);
  }
}

function takeAttributes(shown, fresh) {
  for (const { name, value } of fresh.attributes) {
    if (!isOwn(shown, name) && shown.getAttribute(name) !== value) shown.setAttribute(name, value);
  }
  for (const { name } of [...shown.attributes]) {
    if (!isOwn(shown, name) && !fresh.hasAttribute(name)) shown.removeAttribute(name);
  }
}

function isAlike(shown, fresh) {
  return shown.nodeType === fresh.nodeType && shown.nodeName === fresh.nodeName;
}

function keyOf(node) {
  if (node.nodeType !== Node.ELEMENT_NODE) return undefined;
  return node.id || node.dataset.key || (isKept(node) ? `${node.nodeName}.${node.className}` : undefined);
}

function isKept(node) {
  if (node.nodeType !== Node.ELEMENT_NODE || !("kept" in node.dataset)) return false;
  return node.dataset.kept !== "used" || node.contains(document.activeElement) || isTyped(node);
}

/** Whether somebody is filling in a form of a tree, or has sent it and was told what is wrong with it. */
export function isTyped(tree) {
  return tree.querySelector("[aria-invalid]") !== null || [...tree.querySelectorAll("input:not([type=hidden]), select")].some(isChanged);
}

function isChanged(field) {
  if (field.type === "checkbox") return field.checked !== field.defaultChecked;
  if (field.nodeName !== "SELECT") return field.value !== field.defaultValue;
  const chosen = [...field.options].findIndex((option) => option.defaultSelected);
  return field.selectedIndex !== Math.max(0, chosen);
}
