//! The pickle machine, protocols 0 to 5: it builds values and runs nothing. A call makes a value that records the call,
//! or, for the few functions that [`crate::rebuild`] knows, what the function would have returned.

use std::collections::HashMap;
use std::sync::Arc;

use crate::globals;
use crate::reader::{Fault, Reader, decimal, malformed, shortest, small};
use crate::text;
use crate::value::{Arena, Global, Id, Node, Record};

/// A pickle, read.
#[derive(Debug)]
pub(crate) struct Parsed {
    pub(crate) arena: Arena,
    pub(crate) root: Id,
    /// Bytes up to and with its last opcode.
    pub(crate) length: usize,
}

/// Reads the pickle at the front of `bytes`; a fault comes with its offset.
pub(crate) fn parse(bytes: &[u8]) -> Result<Parsed, (usize, Fault)> {
    let mut machine = Machine {
        reader: Reader::new(bytes),
        arena: Arena::default(),
        stack: Vec::new(),
        marks: Vec::new(),
        memo: HashMap::new(),
        copied: 0,
        parts: 0,
    };
    loop {
        let offset = machine.reader.position();
        match machine.step() {
            Ok(None) => {}
            Ok(Some(root)) => {
                return Ok(Parsed { arena: machine.arena, root, length: machine.reader.position() });
            }
            Err(fault) => return Err((offset, fault)),
        }
    }
}

pub(crate) struct Machine<'a> {
    pub(crate) reader: Reader<'a>,
    pub(crate) arena: Arena,
    pub(crate) stack: Vec<Id>,
    pub(crate) marks: Vec<usize>, // stack heights
    pub(crate) memo: HashMap<u64, Id>,
    pub(crate) copied: usize,
    pub(crate) parts: usize,
}

impl<'a> Machine<'a> {
    /// One opcode; the root when it was the last.
    fn step(&mut self) -> Result<Option<Id>, Fault> {
        match self.reader.u8()? {
            // What frames a pickle.
            0x80 => self.protocol()?,
            0x95 => {
                let length = self.reader.u64()?;
                self.reader.expect(length)?;
            }
            b'.' => return self.pop().map(Some),
            // Stack and memo.
            b'(' => self.mark()?,
            b'0' => self.discard()?,
            b'1' => drop(self.pop_mark()?),
            b'2' => {
                let top = self.top()?;
                self.push_id(top)?;
            }
            b'p' => {
                let index = self.index()?;
                self.memoise(index)?;
            }
            b'q' => {
                let index = self.reader.u8()?.into();
                self.memoise(index)?;
            }
            b'r' => {
                let index = self.reader.u32()?.into();
                self.memoise(index)?;
            }
            0x94 => self.memoise(self.memo.len() as u64)?,
            b'g' => {
                let index = self.index()?;
                self.recall(index)?;
            }
            b'h' => {
                let index = self.reader.u8()?.into();
                self.recall(index)?;
            }
            b'j' => {
                let index = self.reader.u32()?.into();
                self.recall(index)?;
            }
            // Numbers and None.
            b'N' => self.push(Node::None)?,
            0x88 => self.push(Node::Bool(true))?,
            0x89 => self.push(Node::Bool(false))?,
            b'K' => {
                let value = self.reader.u8()?.into();
                self.push(Node::Int(value))?;
            }
            b'M' => {
                let value = self.reader.u16()?.into();
                self.push(Node::Int(value))?;
            }
            b'J' => {
                let value = self.reader.i32()?.into();
                self.push(Node::Int(value))?;
            }
            b'I' => self.integer_line()?,
            b'L' => {
                let line = self.reader.text_line()?;
                self.integer(&decimal(line.strip_suffix('L').unwrap_or(line))?)?;
            }
            0x8a => {
                let length = self.reader.u8()?.into();
                self.integer_bytes(length)?;
            }
            0x8b => {
                let length = self.reader.signed_length()?;
                self.integer_bytes(length)?;
            }
            b'F' => {
                let line = self.reader.text_line()?.trim();
                let value =
                    line.parse().or_else(|_| malformed(format!("{:?} where a float belongs", text::start(line))))?;
                self.push(Node::Float(value))?;
            }
            b'G' => {
                let value = self.reader.f64()?;
                self.push(Node::Float(value))?;
            }
            // Text and bytes.
            b'S' => {
                let bytes = text::quoted(self.reader.line()?)?;
                self.text(&bytes)?;
            }
            b'V' => {
                let bytes = text::escaped(self.reader.line()?)?;
                self.text(&bytes)?;
            }
            b'T' => {
                let length = self.reader.signed_length()?;
                self.sized_text(length)?;
            }
            b'U' | 0x8c => {
                let length = self.reader.u8()?.into();
                self.sized_text(length)?;
            }
            b'X' => {
                let length = self.reader.u32()?.into();
                self.sized_text(length)?;
            }
            0x8d => {
                let length = self.reader.u64()?;
                self.sized_text(length)?;
            }
            b'C' => {
                let length = self.reader.u8()?.into();
                self.sized_bytes(length)?;
            }
            b'B' => {
                let length = self.reader.u32()?.into();
                self.sized_bytes(length)?;
            }
            0x8e | 0x96 => {
                let length = self.reader.u64()?;
                self.sized_bytes(length)?;
            }
            // Containers.
            b']' => self.push(Node::List(Vec::new()))?,
            b'}' => self.push(Node::Dict(Vec::new()))?,
            0x8f => self.push(Node::Set(Vec::new()))?,
            b')' => self.push(Node::Tuple(Box::default()))?,
            b'l' => {
                let items = self.pop_mark()?;
                self.push(Node::List(items))?;
            }
            b't' => {
                let items = self.pop_mark()?;
                self.push(Node::Tuple(items.into()))?;
            }
            count @ 0x85..=0x87 => self.tuple(usize::from(count - 0x84))?,
            0x91 => {
                let items = self.pop_mark()?;
                self.push(Node::Set(items))?;
            }
            b'd' => {
                let pairs = paired(&self.pop_mark()?)?;
                self.push(Node::Dict(pairs))?;
            }
            b'a' => {
                let item = self.pop()?;
                self.append(&[item])?;
            }
            b'e' | 0x90 => {
                let items = self.pop_mark()?;
                self.append(&items)?;
            }
            b's' => {
                let value = self.pop()?;
                let key = self.pop()?;
                self.set_items(&[(key, value)])?;
            }
            b'u' => {
                let pairs = paired(&self.pop_mark()?)?;
                self.set_items(&pairs)?;
            }
            // Names, calls, objects.
            b'c' => {
                let module = self.reader.text_line()?;
                let name = self.reader.text_line()?;
                self.global(module.into(), name.into())?;
            }
            0x93 => {
                let (name, module) = (self.pop()?, self.pop()?);
                let (Node::Str(name), Node::Str(module)) = (self.arena.get(name), self.arena.get(module)) else {
                    return malformed("a global whose module and name are no texts");
                };
                self.global(Arc::clone(module), Arc::clone(name))?;
            }
            b'i' => {
                let module = self.reader.text_line()?;
                let name = self.reader.text_line()?;
                self.global(module.into(), name.into())?;
                let class = self.pop()?;
                let arguments = self.pop_mark()?;
                self.call_with(class, arguments)?;
            }
            b'o' => {
                let mut parts = self.pop_mark()?;
                if parts.is_empty() {
                    return malformed("an object without a class");
                }
                let class = parts.remove(0);
                self.call_with(class, parts)?;
            }
            b'R' | 0x81 => {
                let arguments = self.pop()?;
                let callee = self.pop()?;
                self.call(callee, arguments)?;
            }
            0x92 => {
                let keywords = self.pop()?;
                let arguments = self.pop()?;
                let class = self.pop()?;
                if !matches!(self.arena.get(keywords), Node::Dict(pairs) if pairs.is_empty()) {
                    return malformed("an object made with keyword arguments, which nothing in a checkpoint needs");
                }
                self.call(class, arguments)?;
            }
            b'b' => self.build()?,
            b'Q' => {
                let identity = self.pop()?;
                let node = self.persistent(identity)?;
                self.push(node)?;
            }
            b'P' => return malformed("a persistent id as a text; torch.save writes tuples"),
            0x82..=0x84 => {
                return malformed("a code of copyreg's extension registry, which no file can be trusted with");
            }
            0x97 | 0x98 => return malformed("a buffer outside the pickle, which torch.save never writes"),
            opcode => return malformed(format!("opcode 0x{opcode:02x}, which no protocol up to 5 has")),
        }
        Ok(None)
    }

    fn protocol(&mut self) -> Result<(), Fault> {
        match self.reader.u8()? {
            0..=5 => Ok(()),
            version => malformed(format!("pickle protocol {version}; read are 0 to 5")),
        }
    }

    fn index(&mut self) -> Result<u64, Fault> {
        let line = self.reader.text_line()?;
        line.trim().parse().or_else(|_| malformed(format!("{:?} where a place in the memo belongs", text::start(line))))
    }

    /// `INT`: a decimal, or a bool as protocol 0 has it.
    fn integer_line(&mut self) -> Result<(), Fault> {
        match self.reader.text_line()? {
            "00" => self.push(Node::Bool(false)),
            "01" => self.push(Node::Bool(true)),
            line => self.integer(&decimal(line)?),
        }
    }

    fn integer_bytes(&mut self, length: u64) -> Result<(), Fault> {
        let bytes = self.reader.take(length)?;
        self.integer(bytes)
    }

    fn integer(&mut self, bytes: &[u8]) -> Result<(), Fault> {
        self.push(small(bytes).map_or_else(|| Node::BigInt(shortest(bytes).into()), Node::Int))
    }

    fn sized_text(&mut self, length: u64) -> Result<(), Fault> {
        let bytes = self.reader.take(length)?;
        self.text(bytes)
    }

    /// A text; Python's lone surrogates and Python 2's byte strings stay bytes.
    fn text(&mut self, bytes: &[u8]) -> Result<(), Fault> {
        self.push(match std::str::from_utf8(bytes) {
            Ok(text) => Node::Str(text.into()),
            Err(_) => Node::Bytes(bytes.into()),
        })
    }

    fn sized_bytes(&mut self, length: u64) -> Result<(), Fault> {
        let bytes = self.reader.take(length)?;
        self.push(Node::Bytes(bytes.into()))
    }

    fn tuple(&mut self, count: usize) -> Result<(), Fault> {
        let mut items = Vec::with_capacity(count);
        for _ in 0..count {
            items.push(self.pop()?);
        }
        items.reverse();
        self.push(Node::Tuple(items.into()))
    }

    fn append(&mut self, new: &[Id]) -> Result<(), Fault> {
        self.hold(new.len())?;
        let top = self.top()?;
        match self.arena.nodes.get_mut(top as usize) {
            Some(Node::List(items) | Node::Set(items)) => items.extend(new),
            Some(Node::Object(record)) => record.items.extend(new),
            _ => return malformed("items are added to what is no list and no set"),
        }
        Ok(())
    }

    fn set_items(&mut self, new: &[(Id, Id)]) -> Result<(), Fault> {
        self.hold(new.len())?;
        let top = self.top()?;
        match self.arena.nodes.get_mut(top as usize) {
            Some(Node::Dict(pairs)) => pairs.extend(new),
            Some(Node::Object(record)) => record.pairs.extend(new),
            _ => return malformed("entries are added to what is no dict"),
        }
        Ok(())
    }

    fn global(&mut self, module: Arc<str>, name: Arc<str>) -> Result<(), Fault> {
        let role = globals::role(&module, &name)?;
        self.push(Node::Global(Box::new(Global { module, name, role })))
    }

    fn call_with(&mut self, class: Id, arguments: Vec<Id>) -> Result<(), Fault> {
        let arguments = self.add(Node::Tuple(arguments.into()))?;
        self.call(class, arguments)
    }

    /// An object of `class` as it was made; nothing is run.
    pub(crate) fn object(&mut self, class: Id, arguments: Id) -> Result<(), Fault> {
        if !matches!(self.arena.get(class), Node::Global(_)) {
            return malformed("a call of what is no name");
        }
        self.push(Node::Object(Box::new(Record {
            class,
            arguments,
            state: None,
            items: Vec::new(),
            pairs: Vec::new(),
        })))
    }

    /// State for the object below it. What dicts and tensors carry beside their contents (`_metadata`, hooks) is dropped.
    fn build(&mut self) -> Result<(), Fault> {
        let state = self.pop()?;
        let top = self.top()?;
        match self.arena.nodes.get_mut(top as usize) {
            Some(Node::Object(record)) => record.state = Some(state),
            Some(Node::Dict(_) | Node::List(_) | Node::Set(_) | Node::Tensor(_)) => {}
            _ => return malformed("a state for what is no object"),
        }
        Ok(())
    }
}

fn paired(items: &[Id]) -> Result<Vec<(Id, Id)>, Fault> {
    let (pairs, []) = items.as_chunks::<2>() else { return malformed("a dict with a key and no value") };
    Ok(pairs.iter().map(|&[key, value]| (key, value)).collect())
}
