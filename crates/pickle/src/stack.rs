//! The machine's stack, its marks and its memo, and what bounds them.

use crate::machine::Machine;
use crate::reader::{Fault, malformed};
use crate::value::{Id, Node};

/// Values, places in the memo or on the stack that a pickle may have. A checkpoint with its optimiser's state has some
/// ten thousand.
pub(crate) const MAX_OBJECTS: usize = 1 << 21;

/// Parts that lists, tuples, sets, dicts and calls may have together: a pickle can put one value into many.
const MAX_PARTS: usize = 4 * MAX_OBJECTS;

impl Machine<'_> {
    /// A new value, on top of the stack.
    pub(crate) fn push(&mut self, node: Node) -> Result<(), Fault> {
        let id = self.add(node)?;
        self.push_id(id)
    }

    pub(crate) fn add(&mut self, node: Node) -> Result<Id, Fault> {
        bounded("values", self.arena.nodes.len())?;
        let id = self.arena.nodes.len() as Id; // below MAX_OBJECTS
        self.arena.nodes.push(node);
        Ok(id)
    }

    pub(crate) fn push_id(&mut self, id: Id) -> Result<(), Fault> {
        bounded("values on its stack", self.stack.len())?;
        self.stack.push(id);
        Ok(())
    }

    /// Counts what is copied from one value to another. Every value that is copied was spelt out in the pickle, once for
    /// each copy: more copies than bytes are an attempt to fill the memory.
    pub(crate) fn copy(&mut self, count: usize) -> Result<(), Fault> {
        self.copied = self.copied.saturating_add(count);
        if self.copied > self.reader.len() {
            return malformed("the same values are copied over and over, to fill the memory");
        }
        Ok(())
    }

    /// Counts parts that are put into a value.
    pub(crate) fn hold(&mut self, count: usize) -> Result<(), Fault> {
        self.parts = self.parts.saturating_add(count);
        if self.parts > MAX_PARTS {
            return malformed(format!(
                "its lists and dicts have more than {MAX_PARTS} parts; no checkpoint needs as many"
            ));
        }
        Ok(())
    }

    pub(crate) fn pop(&mut self) -> Result<Id, Fault> {
        let fence = self.marks.last().copied().unwrap_or(0);
        match self.stack.pop() {
            Some(id) if self.stack.len() >= fence => Ok(id),
            _ => malformed("a value is needed and the stack has none"),
        }
    }

    pub(crate) fn top(&self) -> Result<Id, Fault> {
        let fence = self.marks.last().copied().unwrap_or(0);
        match self.stack.last() {
            Some(&id) if self.stack.len() > fence => Ok(id),
            _ => malformed("a value is needed and the stack has none"),
        }
    }

    pub(crate) fn mark(&mut self) -> Result<(), Fault> {
        bounded("marks on its stack", self.marks.len())?;
        self.marks.push(self.stack.len());
        Ok(())
    }

    pub(crate) fn pop_mark(&mut self) -> Result<Vec<Id>, Fault> {
        let Some(mark) = self.marks.pop().filter(|&mark| mark <= self.stack.len()) else {
            return malformed("a mark is needed and the stack has none");
        };
        self.hold(self.stack.len() - mark)?;
        Ok(self.stack.split_off(mark))
    }

    /// Drops the top value, or the mark that is there instead.
    pub(crate) fn discard(&mut self) -> Result<(), Fault> {
        if self.marks.last() == Some(&self.stack.len()) {
            self.marks.pop();
            return Ok(());
        }
        self.pop().map(drop)
    }

    pub(crate) fn memoise(&mut self, index: u64) -> Result<(), Fault> {
        bounded("places in its memo", self.memo.len())?;
        let top = self.top()?;
        self.memo.insert(index, top);
        Ok(())
    }

    pub(crate) fn recall(&mut self, index: u64) -> Result<(), Fault> {
        match self.memo.get(&index) {
            Some(&id) => self.push_id(id),
            None => malformed(format!("place {index} of the memo is asked for and was never filled")),
        }
    }
}

fn bounded(what: &str, count: usize) -> Result<(), Fault> {
    if count >= MAX_OBJECTS {
        return malformed(format!("it has more than {MAX_OBJECTS} {what}; no checkpoint needs as many"));
    }
    Ok(())
}
