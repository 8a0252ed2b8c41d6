// Remembers small things of this browser, never a credential; without storage nothing is remembered.

export function recall(name, otherwise = "") {
  try {
    return localStorage.getItem(`console.${name}`) ?? otherwise;
  } catch {
    return otherwise;
  }
}

export function remember(name, value) {
  try {
    if (value === "") localStorage.removeItem(`console.${name}`);
    else localStorage.setItem(`console.${name}`, value);
  } catch {
    // It holds until the page is left.
  }
}
