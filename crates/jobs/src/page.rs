//! Pages of a list, newest first.

/// Which page is wanted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PageRequest {
    /// How many items at most.
    pub limit: u32,
    /// The last item's id of the page before.
    pub after: Option<String>,
}

/// A page.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page<T> {
    /// Its items, newest first.
    pub items: Vec<T>,
    /// What to ask for next; `None` on the last page.
    pub next: Option<String>,
}

impl<T> Page<T> {
    /// Makes a page of up to `limit` of `items`, which were read with one more than that to see whether there are more.
    pub fn from_overfull(mut items: Vec<T>, limit: u32, id: impl Fn(&T) -> String) -> Self {
        let limit = limit as usize;
        let more = items.len() > limit;
        items.truncate(limit);
        let next = if more { items.last().map(id) } else { None };
        Self { items, next }
    }

    /// The same page of other items.
    pub fn map<U>(self, change: impl FnMut(T) -> U) -> Page<U> {
        Page {
            items: self.items.into_iter().map(change).collect(),
            next: self.next,
        }
    }
}
