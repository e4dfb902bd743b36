//! Messages of D-Bus, version 1, as far as they are needed to talk to systemd (D-Bus specification, «Type system» and
//! «Message protocol»). Numbers are sent least byte first; systemd answers in its machine's own order, which may be the
//! other one.

/// The longest message that is read, bytes. systemd's answers have some hundred.
pub const MAX_MESSAGE: usize = 1 << 20;

/// What every message begins with: order, kind, flags, version, length of the body, number, length of the fields.
pub const PREFIX: usize = 16;

/// A value in a variant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    /// `b`
    Bool(bool),
    /// `t`
    Long(u64),
    /// `s`
    Text(String),
    /// `au`
    Numbers(Vec<u32>),
    /// `ay`
    Bytes(Vec<u8>),
}

/// What is called: an object's method.
#[derive(Clone, Copy, Debug)]
pub struct Method<'a> {
    /// The object.
    pub path: &'a str,
    /// Its interface.
    pub interface: &'a str,
    /// The name.
    pub name: &'a str,
    /// The types of its arguments.
    pub signature: &'a str,
}

/// A message that came in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// What it is.
    pub kind: Kind,
    /// The message that it answers, where it answers one.
    pub reply_to: u32,
    /// The error or signal that it is; empty for an answer.
    pub name: String,
    /// Its leading arguments, up to the first that is neither text nor number.
    pub arguments: Vec<Argument>,
}

/// What a message is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// An answer.
    Return,
    /// A refusal.
    Error,
    /// Something that happened.
    Signal,
    /// Anything else.
    Other,
}

/// An argument.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Argument {
    /// `s`, `o`
    Text(String),
    /// `u`
    Number(u32),
}

/// Bytes that are no message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("bytes came that are no message of D-Bus")]
pub struct Malformed;

/// Arguments that are being written.
#[derive(Default)]
pub struct Body(Vec<u8>);

impl Body {
    /// `s`
    pub fn text(&mut self, text: &str) -> &mut Body {
        // No text here has 4 GiB.
        self.number(u32::try_from(text.len()).unwrap_or(0));
        self.0.extend(text.bytes());
        self.0.push(0);
        self
    }

    /// `u`, and `b` as 0 or 1.
    pub fn number(&mut self, number: u32) -> &mut Body {
        self.align(4);
        self.0.extend(number.to_le_bytes());
        self
    }

    /// `a(sv)`
    pub fn properties(&mut self, properties: &[(&str, Value)]) -> &mut Body {
        self.array(8, |body| {
            for (name, value) in properties {
                body.align(8);
                body.text(name).variant(value);
            }
        })
    }

    /// An array without elements of structures.
    pub fn nothing(&mut self) -> &mut Body {
        self.array(8, |_| {})
    }

    fn variant(&mut self, value: &Value) -> &mut Body {
        match value {
            Value::Bool(yes) => self.signature("b").number((*yes).into()),
            Value::Text(text) => self.signature("s").text(text),
            Value::Long(number) => {
                self.signature("t").align(8);
                self.0.extend(number.to_le_bytes());
                self
            }
            Value::Numbers(numbers) => self.signature("au").array(4, |body| {
                for number in numbers {
                    body.number(*number);
                }
            }),
            Value::Bytes(bytes) => self.signature("ay").array(1, |body| body.0.extend(bytes)),
        }
    }

    fn signature(&mut self, signature: &str) -> &mut Body {
        // None here is longer than a few letters.
        self.0.push(u8::try_from(signature.len()).unwrap_or(0));
        self.0.extend(signature.bytes());
        self.0.push(0);
        self
    }

    /// The length, the gap before the first element, and the elements.
    fn array(&mut self, element: usize, write: impl FnOnce(&mut Body)) -> &mut Body {
        self.number(0);
        let length = self.0.len() - 4;
        self.align(element);
        let start = self.0.len();
        write(self);
        let written = u32::try_from(self.0.len() - start).unwrap_or(0);
        self.0[length..length + 4].copy_from_slice(&written.to_le_bytes());
        self
    }

    fn align(&mut self, to: usize) {
        self.0.resize(self.0.len().next_multiple_of(to), 0);
    }
}

const CALL: u8 = 1;

/// The message that calls a method.
pub fn call(number: u32, method: Method<'_>, body: &Body) -> Vec<u8> {
    let Method { path, interface, name, signature } = method;
    let mut message = Body(vec![b'l', CALL, 0, 1]);
    message.number(u32::try_from(body.0.len()).unwrap_or(0)).number(number);
    message.array(8, |fields| {
        let field = |fields: &mut Body, code: u8, kind: &str| {
            fields.align(8);
            fields.0.push(code);
            fields.signature(kind);
        };
        for (code, kind, text) in [(1, "o", path), (2, "s", interface), (3, "s", name)] {
            field(fields, code, kind);
            fields.text(text);
        }
        field(fields, 8, "g");
        fields.signature(signature);
    });
    message.align(8);
    message.0.extend(&body.0);
    message.0
}

/// How long a message is that begins so.
///
/// # Errors
///
/// What is no message, or one that is too long.
pub fn length(prefix: &[u8; PREFIX]) -> Result<usize, Malformed> {
    let mut reader = Reader::new(prefix)?;
    reader.at = 4;
    let (body, _number, fields) = (reader.number()?, reader.number()?, reader.number()?);
    let sizes = [PREFIX, fields as usize, 7, body as usize];
    let most = sizes.into_iter().try_fold(0usize, usize::checked_add).ok_or(Malformed)?;
    if most > MAX_MESSAGE {
        return Err(Malformed);
    }
    Ok((PREFIX + fields as usize).next_multiple_of(8) + body as usize)
}

impl Message {
    /// Reads one that is there as a whole.
    ///
    /// # Errors
    ///
    /// What is no message.
    pub fn parse(bytes: &[u8]) -> Result<Message, Malformed> {
        let mut reader = Reader::new(bytes)?;
        let kind = match bytes.get(1).ok_or(Malformed)? {
            2 => Kind::Return,
            3 => Kind::Error,
            4 => Kind::Signal,
            _ => Kind::Other,
        };
        reader.at = 12;
        let end = reader.number()? as usize + PREFIX;
        let mut message = Message { kind, reply_to: 0, name: String::new(), arguments: Vec::new() };
        let mut signature = String::new();
        while reader.at < end {
            reader.align(8)?;
            let code = reader.byte()?;
            match (code, reader.signature()?.as_str()) {
                (5, "u") => message.reply_to = reader.number()?,
                (3 | 4, "s") => message.name = reader.text()?,
                (8, "g") => signature = reader.signature()?,
                (_, "s" | "o") => drop(reader.text()?),
                (_, "g") => drop(reader.signature()?),
                (_, "u") => drop(reader.number()?),
                _ => return Err(Malformed),
            }
        }
        reader.align(8)?;
        for letter in signature.chars() {
            message.arguments.push(match letter {
                's' | 'o' => Argument::Text(reader.text()?),
                'u' => Argument::Number(reader.number()?),
                _ => break,
            });
        }
        Ok(message)
    }

    /// The text at this place among the arguments.
    pub fn text(&self, index: usize) -> Option<&str> {
        match self.arguments.get(index) {
            Some(Argument::Text(text)) => Some(text),
            _ => None,
        }
    }
}

struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
    little: bool,
}

impl<'a> Reader<'a> {
    fn new(bytes: &'a [u8]) -> Result<Reader<'a>, Malformed> {
        let little = match bytes.first() {
            Some(b'l') => true,
            Some(b'B') => false,
            _ => return Err(Malformed),
        };
        Ok(Reader { bytes, at: 0, little })
    }

    fn take(&mut self, count: usize) -> Result<&'a [u8], Malformed> {
        let end = self.at.checked_add(count).ok_or(Malformed)?;
        let taken = self.bytes.get(self.at..end).ok_or(Malformed)?;
        self.at = end;
        Ok(taken)
    }

    fn align(&mut self, to: usize) -> Result<(), Malformed> {
        self.take(self.at.next_multiple_of(to) - self.at).map(drop)
    }

    fn byte(&mut self) -> Result<u8, Malformed> {
        Ok(self.take(1)?[0])
    }

    fn number(&mut self) -> Result<u32, Malformed> {
        self.align(4)?;
        let bytes = self.take(4)?.try_into().map_err(|_| Malformed)?;
        Ok(if self.little { u32::from_le_bytes(bytes) } else { u32::from_be_bytes(bytes) })
    }

    fn text(&mut self) -> Result<String, Malformed> {
        let length = self.number()? as usize;
        self.words(length)
    }

    fn signature(&mut self) -> Result<String, Malformed> {
        let length = self.byte()?;
        self.words(length.into())
    }

    /// So many bytes and a zero.
    fn words(&mut self, length: usize) -> Result<String, Malformed> {
        let text = String::from_utf8_lossy(self.take(length)?).into_owned();
        self.take(1)?;
        Ok(text)
    }
}
