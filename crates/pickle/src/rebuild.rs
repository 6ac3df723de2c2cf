//! What the few functions that checkpoints call would have returned: tensors, dicts, sets, bytes. Their arguments are
//! checked; nothing is called.

use std::sync::Arc;

use crate::dtype::DType;
use crate::globals::Role;
use crate::machine::Machine;
use crate::reader::{Fault, malformed};
use crate::tensor::{MAX_DIMENSIONS, Storage, TensorInfo};
use crate::value::{Id, Node};

impl Machine<'_> {
    /// `callee(*arguments)`, pushed.
    pub(crate) fn call(&mut self, callee: Id, arguments: Id) -> Result<(), Fault> {
        let Node::Global(global) = self.arena.get(callee) else { return malformed("a call of what is no name") };
        let role = global.role;
        let Node::Tuple(given) = self.arena.get(arguments) else {
            return malformed("a call whose arguments are no tuple");
        };
        // At most eight arguments mean anything to the functions here; an inert object refers to all of them.
        let (count, mut first) = (given.len(), [None; 8]);
        for (slot, &id) in first.iter_mut().zip(given.iter()) {
            *slot = Some(id);
        }
        match role {
            Role::Tensor => self.tensor(&first, first[6], None),
            Role::TypedTensor => {
                let dtype = match first[6].map(|id| self.arena.get(id)) {
                    Some(Node::Global(global)) => match global.role {
                        Role::DType(dtype) => dtype,
                        _ => return malformed("a tensor whose type is none"),
                    },
                    _ => return malformed("a tensor whose type is none"),
                };
                self.tensor(&first, first[7], Some(dtype))
            }
            Role::Parameter => match first[0] {
                Some(id) if matches!(self.arena.get(id), Node::Tensor(_)) => self.push_id(id),
                _ => malformed("a parameter without its tensor"),
            },
            Role::FromType => match first {
                [Some(function), _, Some(arguments), ..] if function != callee && !self.is_from_type(function) => {
                    self.call(function, arguments)
                }
                _ => malformed("a tensor of a class without the function that makes it"),
            },
            Role::Size => match first[0] {
                Some(id) if count == 1 && matches!(self.arena.get(id), Node::Tuple(_)) => self.push_id(id),
                _ => malformed("a torch.Size of what is no tuple"),
            },
            Role::Dict if count <= 1 => self.dict(first[0]),
            Role::DefaultDict => self.push(Node::Dict(Vec::new())),
            Role::Set if count <= 1 => self.set(first[0]),
            Role::Bytes | Role::Encode => self.bytes(role, &first, count),
            Role::Reconstructor => match first {
                [Some(class), _, Some(_), ..] => self.object(class, arguments),
                _ => malformed("an object without class, base and state"),
            },
            Role::Inert => self.object(callee, arguments),
            Role::Dict | Role::Set | Role::Storage(_) | Role::DType(_) => {
                malformed("a call that nothing in a checkpoint needs")
            }
        }
    }

    fn is_from_type(&self, id: Id) -> bool {
        matches!(self.arena.get(id), Node::Global(global) if global.role == Role::FromType)
    }

    fn dict(&mut self, from: Option<Id>) -> Result<(), Fault> {
        let Some(from) = from else { return self.push(Node::Dict(Vec::new())) };
        let count = match self.arena.get(from) {
            Node::Dict(pairs) => pairs.len(),
            Node::List(items) => items.len(),
            _ => return malformed("a dict made of what is neither a dict nor a list of pairs"),
        };
        self.copy(count)?;
        self.hold(count)?;
        let pairs = match self.arena.get(from) {
            Node::Dict(pairs) => pairs.clone(),
            Node::List(items) => items.iter().map(|&item| self.pair(item)).collect::<Result<_, _>>()?,
            _ => Vec::new(),
        };
        self.push(Node::Dict(pairs))
    }

    fn pair(&self, id: Id) -> Result<(Id, Id), Fault> {
        let items: &[Id] = match self.arena.get(id) {
            Node::Tuple(items) => items,
            Node::List(items) => items,
            _ => &[],
        };
        match items {
            &[key, value] => Ok((key, value)),
            _ => malformed("a dict made of what are no pairs"),
        }
    }

    fn set(&mut self, from: Option<Id>) -> Result<(), Fault> {
        let Some(from) = from else { return self.push(Node::Set(Vec::new())) };
        let Node::List(items) = self.arena.get(from) else { return malformed("a set made of what is no list") };
        let items = items.clone();
        self.copy(items.len())?;
        self.hold(items.len())?;
        self.push(Node::Set(items))
    }

    /// Bytes from a text of Latin-1 and the name of that encoding, or from bytes.
    fn bytes(&mut self, role: Role, given: &[Option<Id>; 8], count: usize) -> Result<(), Fault> {
        let node = |slot: usize| given.get(slot).copied().flatten().map(|id| self.arena.get(id));
        let bytes: Arc<[u8]> = match (node(0), node(1)) {
            (None, None) if role == Role::Bytes => Arc::default(),
            (Some(Node::Bytes(bytes)), None) if role == Role::Bytes => Arc::clone(bytes),
            (Some(Node::Str(text)), Some(Node::Str(encoding)))
                if count == 2 && matches!(&**encoding, "latin1" | "latin-1") =>
            {
                let text = Arc::clone(text);
                self.copy(text.len())?;
                let bytes: Option<Vec<u8>> = text.chars().map(|character| u8::try_from(character).ok()).collect();
                match bytes {
                    Some(bytes) => bytes.into(),
                    None => return malformed("bytes spelt as a text beyond Latin-1"),
                }
            }
            _ => return malformed("bytes made of something other than bytes or a text of Latin-1"),
        };
        self.push(Node::Bytes(bytes))
    }

    /// A tensor over a storage; `flags` are what PyTorch left to do when it is read (negation, conjugation).
    fn tensor(&mut self, given: &[Option<Id>; 8], flags: Option<Id>, dtype: Option<DType>) -> Result<(), Fault> {
        let flagged = match flags.map(|id| self.arena.get(id)) {
            None | Some(Node::None) => false,
            Some(Node::Dict(flags)) => {
                flags.iter().any(|&(_, set)| !matches!(self.arena.get(set), Node::Bool(false) | Node::None))
            }
            Some(_) => true,
        };
        if flagged {
            return malformed("a tensor that is yet to be negated or conjugated; save a clone of it");
        }
        let &[Some(storage), Some(offset), Some(shape), Some(strides), ..] = given else {
            return malformed("a tensor without storage, offset, size and strides");
        };
        let Node::Storage(storage) = self.arena.get(storage) else { return malformed("a tensor without a storage") };
        let storage = Arc::clone(storage);
        let shape = self.sizes(shape, "size")?;
        let strides = self.sizes(strides, "stride")?;
        let window = storage.view.map_or(0, |(offset, _)| offset);
        let Some(offset) = window.checked_add(self.count(offset, "offset")?).and_then(|all| usize::try_from(all).ok())
        else {
            return malformed("a tensor whose offset is beyond what any file holds");
        };
        let dtype = dtype.unwrap_or(storage.dtype);
        self.push(Node::Tensor(Box::new(TensorInfo { dtype, shape, strides, offset, storage })))
    }

    fn sizes(&mut self, id: Id, what: &str) -> Result<Vec<usize>, Fault> {
        let ids: Vec<Id> = match self.arena.get(id) {
            Node::Tuple(items) if items.len() <= MAX_DIMENSIONS => items.to_vec(),
            Node::List(items) if items.len() <= MAX_DIMENSIONS => items.clone(),
            Node::Tuple(_) | Node::List(_) => {
                return malformed(format!("a tensor of more than {MAX_DIMENSIONS} dimensions"));
            }
            _ => return malformed(format!("a tensor whose {what} is no tuple")),
        };
        self.copy(ids.len())?;
        self.hold(ids.len())?;
        ids.into_iter()
            .map(|id| {
                let count = self.count(id, what)?;
                usize::try_from(count).or_else(|_| malformed(format!("a tensor whose {what} is {count}")))
            })
            .collect()
    }

    fn count(&self, id: Id, what: &str) -> Result<u64, Fault> {
        match self.arena.get(id) {
            Node::Int(value) => u64::try_from(*value)
                .or_else(|_| malformed(format!("a tensor whose {what} is {value}; none may be negative"))),
            _ => malformed(format!("a tensor whose {what} is no integer of 64 bits")),
        }
    }

    /// torch's persistent id: `("storage", class, key, location, elements[, view])`.
    pub(crate) fn persistent(&mut self, id: Id) -> Result<Node, Fault> {
        let Node::Tuple(parts) = self.arena.get(id) else { return malformed("a persistent id that is no tuple") };
        let node = |slot: usize| parts.get(slot).map(|&id| self.arena.get(id));
        match node(0) {
            Some(Node::Str(kind)) if &**kind == "storage" => {}
            Some(Node::Str(kind)) if &**kind == "module" => {
                return malformed("a whole module with its source; load it where you trust it and save its state_dict");
            }
            _ => return malformed("a persistent id that is of no storage"),
        }
        let dtype = match node(1) {
            Some(Node::Global(global)) => match global.role {
                Role::Storage(dtype) => dtype,
                _ => return malformed("a storage of a class that is none"),
            },
            _ => return malformed("a storage without its class"),
        };
        let key = match node(2) {
            Some(Node::Str(key)) => Arc::clone(key),
            _ => return malformed("a storage whose key is no text"),
        };
        let elements = match node(4) {
            Some(Node::Int(_)) => self.count(parts.get(4).copied().unwrap_or_default(), "storage's length")?,
            _ => return malformed("a storage without its length"),
        };
        let view = match node(5) {
            None | Some(Node::None) => None,
            Some(Node::Tuple(view)) => match **view {
                [_, offset, length] => {
                    Some((self.count(offset, "storage's offset")?, self.count(length, "storage's length")?))
                }
                _ => return malformed("a view of a storage without key, offset and length"),
            },
            _ => return malformed("a view of a storage that is no tuple"),
        };
        Ok(Node::Storage(Arc::new(Storage { key, dtype, elements, view })))
    }
}
