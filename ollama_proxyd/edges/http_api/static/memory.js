// What the browser remembers between pages; where that is forbidden or full, this page remembers it.

function storage(name) {
  const own = new Map();
  const attempt = (what, otherwise) => {
    try {
      return what(globalThis[name]);
    } catch {
      return otherwise;
    }
  };
  return {
    get: (key) => own.get(key) ?? attempt((its) => its.getItem(key), null),
    /** Whether the browser keeps it. */
    set(key, value) {
      const isKept = attempt((its) => { its.setItem(key, value); return true; }, false);
      if (isKept) own.delete(key);
      else own.set(key, value);
      return isKept;
    },
    remove(key) {
      own.delete(key);
      attempt((its) => its.removeItem(key));
    },
    keys: () => attempt((its) => Object.keys(its), []),
  };
}

export const browser = storage("localStorage");
export const tab = storage("sessionStorage");
