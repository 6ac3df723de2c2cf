//! What a pickle holds, as values to look at. Lists may share elements and even contain themselves, as in Python: the
//! values stay in one flat table, and a [`Value`] is a place in it.

use std::fmt;
use std::sync::Arc;

use crate::globals::Role;
use crate::tensor::{Storage, TensorInfo};

/// A place in an [`Arena`].
pub(crate) type Id = u32;

/// One value; its parts are places of their own.
#[derive(Debug)]
pub(crate) enum Node {
    None,
    Bool(bool),
    Int(i64),
    BigInt(Box<[u8]>),
    Float(f64),
    Str(Arc<str>),
    Bytes(Arc<[u8]>),
    List(Vec<Id>),
    Tuple(Box<[Id]>),
    Set(Vec<Id>),
    Dict(Vec<(Id, Id)>),
    Global(Box<Global>),
    Object(Box<Record>),
    Storage(Arc<Storage>),
    Tensor(Box<TensorInfo>),
}

/// The name of a class or a function.
#[derive(Debug)]
pub struct Global {
    pub(crate) module: Arc<str>,
    pub(crate) name: Arc<str>,
    pub(crate) role: Role,
}

impl Global {
    /// The module, as `argparse`.
    pub fn module(&self) -> &str {
        &self.module
    }

    /// The name within the module, as `Namespace`.
    pub fn name(&self) -> &str {
        &self.name
    }
}

/// An object: what it was made with. Nothing was run to make it.
#[derive(Debug)]
pub(crate) struct Record {
    pub(crate) class: Id,
    pub(crate) arguments: Id,
    pub(crate) state: Option<Id>,
    pub(crate) items: Vec<Id>,
    pub(crate) pairs: Vec<(Id, Id)>,
}

/// All values of one pickle.
#[derive(Debug, Default)]
pub(crate) struct Arena {
    pub(crate) nodes: Vec<Node>,
}

impl Arena {
    pub(crate) fn get(&self, id: Id) -> &Node {
        self.nodes.get(id as usize).unwrap_or(&Node::None) // ids come from this arena alone
    }
}

/// A value of a pickle.
#[derive(Clone, Copy)]
pub struct Value<'a> {
    pub(crate) arena: &'a Arena,
    pub(crate) id: Id,
}

/// What a [`Value`] is.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum Kind<'a> {
    /// `None`
    None,
    /// `True` or `False`
    Bool(bool),
    /// An integer of 64 bits.
    Int(i64),
    /// A larger integer: little-endian two's complement, as short as can be.
    BigInt(&'a [u8]),
    /// A float.
    Float(f64),
    /// A text.
    Str(&'a str),
    /// Bytes, a bytearray, or a text that is not Unicode.
    Bytes(&'a [u8]),
    /// A list; [`Value::items`] has its elements.
    List,
    /// A tuple; [`Value::items`] has its elements.
    Tuple,
    /// A set or a frozenset; [`Value::items`] has its elements.
    Set,
    /// A dict of any class; [`Value::pairs`] has its entries, in the file's order.
    Dict,
    /// A tensor.
    Tensor(&'a TensorInfo),
    /// A storage outside a tensor.
    Storage,
    /// A class or a function, by name.
    Global(&'a Global),
    /// An object of any other class; [`Value::get`] finds its attributes.
    Object {
        /// What was called for it: a class, as a rule.
        class: &'a Global,
        /// What it was called with: a tuple.
        arguments: Value<'a>,
        /// What the class would have restored: a dict, as a rule.
        state: Option<Value<'a>>,
    },
}

impl<'a> Value<'a> {
    fn at(self, id: Id) -> Value<'a> {
        Value { arena: self.arena, id }
    }

    fn node(self) -> &'a Node {
        self.arena.get(self.id)
    }

    /// What it is.
    pub fn kind(self) -> Kind<'a> {
        match self.node() {
            Node::None => Kind::None,
            Node::Bool(value) => Kind::Bool(*value),
            Node::Int(value) => Kind::Int(*value),
            Node::BigInt(bytes) => Kind::BigInt(bytes),
            Node::Float(value) => Kind::Float(*value),
            Node::Str(text) => Kind::Str(text),
            Node::Bytes(bytes) => Kind::Bytes(bytes),
            Node::List(_) => Kind::List,
            Node::Tuple(_) => Kind::Tuple,
            Node::Set(_) => Kind::Set,
            Node::Dict(_) => Kind::Dict,
            Node::Tensor(tensor) => Kind::Tensor(tensor),
            Node::Storage(_) => Kind::Storage,
            Node::Global(global) => Kind::Global(global),
            Node::Object(record) => match self.arena.get(record.class) {
                Node::Global(class) => Kind::Object {
                    class,
                    arguments: self.at(record.arguments),
                    state: record.state.map(|state| self.at(state)),
                },
                _ => Kind::None, // the machine makes objects of globals alone
            },
        }
    }

    /// The elements of a list, a tuple or a set, and of an object that is one; empty for everything else.
    pub fn items(self) -> impl Iterator<Item = Value<'a>> {
        let ids: &'a [Id] = match self.node() {
            Node::List(items) | Node::Set(items) => items,
            Node::Tuple(items) => items,
            Node::Object(record) => &record.items,
            _ => &[],
        };
        ids.iter().map(move |&id| self.at(id))
    }

    /// The entries of a dict, and of an object that is one; empty for everything else. A key may come twice: the last
    /// one counts.
    pub fn pairs(self) -> impl DoubleEndedIterator<Item = (Value<'a>, Value<'a>)> {
        let ids: &'a [(Id, Id)] = match self.node() {
            Node::Dict(pairs) => pairs,
            Node::Object(record) => &record.pairs,
            _ => &[],
        };
        ids.iter().map(move |&(key, value)| (self.at(key), self.at(value)))
    }

    fn entry(self, key: &str) -> Option<Value<'a>> {
        let named = |value: Value<'a>| matches!(value.node(), Node::Str(text) if &**text == key);
        self.pairs().rev().find(|&(key, _)| named(key)).map(|(_, value)| value)
    }

    fn state(self) -> Option<Value<'a>> {
        match self.node() {
            Node::Object(record) => record.state.map(|state| self.at(state)),
            _ => None,
        }
    }

    /// The entry of a dict under a text, or the attribute of an object, as of an `argparse.Namespace`; the entry of an
    /// omegaconf `DictConfig`.
    pub fn get(self, key: &str) -> Option<Value<'a>> {
        let this = self.plain();
        if let Some(entry) = this.entry(key) {
            return Some(entry);
        }
        let state = this.state()?;
        // A class with slots has a tuple for its state: the attributes, then the slots.
        let content = state.entry("_content").and_then(|content| content.entry(key));
        state.entry(key).or(content).or_else(|| state.items().find_map(|part| part.entry(key)))
    }

    /// [`Value::get`] for one key after the other.
    pub fn path(self, keys: &[&str]) -> Option<Value<'a>> {
        keys.iter().try_fold(self, |value, key| value.get(key))
    }

    /// The value within one of omegaconf's nodes (`_val`); any other value itself.
    fn plain(self) -> Value<'a> {
        match self.kind() {
            Kind::Object { class, state: Some(state), .. } if class.module().starts_with("omegaconf") => {
                state.entry("_val").unwrap_or(self)
            }
            _ => self,
        }
    }

    /// The text, if it is one.
    pub fn as_str(self) -> Option<&'a str> {
        match self.plain().node() {
            Node::Str(text) => Some(text),
            _ => None,
        }
    }

    /// The integer, if it is one of 64 bits.
    pub fn as_i64(self) -> Option<i64> {
        match self.plain().node() {
            Node::Int(value) => Some(*value),
            _ => None,
        }
    }

    /// The number, if it is a float, or an integer that a float holds exactly.
    pub fn as_f64(self) -> Option<f64> {
        match self.plain().node() {
            Node::Float(value) => Some(*value),
            Node::Int(value) => (value.unsigned_abs() <= 1 << 53).then_some(*value as f64),
            _ => None,
        }
    }

    /// The truth value, if it is a `bool`.
    pub fn as_bool(self) -> Option<bool> {
        match self.plain().node() {
            Node::Bool(value) => Some(*value),
            _ => None,
        }
    }

    /// Whether it is `None`.
    pub fn is_none(self) -> bool {
        matches!(self.plain().node(), Node::None)
    }

    /// The tensor, if it is one.
    pub fn as_tensor(self) -> Option<&'a TensorInfo> {
        match self.node() {
            Node::Tensor(tensor) => Some(tensor),
            _ => None,
        }
    }

    /// What it is in a few words, as `a list of 3`.
    pub fn describe(self) -> String {
        match self.node() {
            Node::None => "None".into(),
            Node::Bool(value) => format!("the bool {value}"),
            Node::Int(value) => format!("the integer {value}"),
            Node::BigInt(bytes) => format!("an integer of {} bytes", bytes.len()),
            Node::Float(value) => format!("the float {value}"),
            Node::Str(text) => format!("the text {}", crate::text::shown(text)),
            Node::Bytes(bytes) => format!("{} bytes", bytes.len()),
            Node::List(items) => format!("a list of {}", items.len()),
            Node::Tuple(items) => format!("a tuple of {}", items.len()),
            Node::Set(items) => format!("a set of {}", items.len()),
            Node::Dict(pairs) => format!("a dict of {}", pairs.len()),
            Node::Global(global) => format!("the name {}", crate::globals::shown(&global.module, &global.name)),
            Node::Storage(_) => "a storage".into(),
            Node::Tensor(tensor) => format!("a tensor of {} {:?}", tensor.dtype, tensor.shape),
            Node::Object(record) => match self.arena.get(record.class) {
                Node::Global(class) => format!("an object of {}", crate::globals::shown(&class.module, &class.name)),
                _ => "an object".into(),
            },
        }
    }
}

/// One level, in a few words: values may be nested without end.
impl fmt::Debug for Value<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.describe())
    }
}
