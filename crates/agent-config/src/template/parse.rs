//! The text of a template to what it calls.

use super::TemplateError;

/// A part of a text.
#[derive(Debug)]
pub(super) enum Part<'a> {
    Text(&'a str),
    Pipeline(Pipeline<'a>),
}

/// Commands, each of which gets what the one before it gives as its last argument.
#[derive(Debug)]
pub(super) struct Pipeline<'a> {
    pub(super) first: Command<'a>,
    pub(super) more: Vec<Command<'a>>,
}

/// A function with its arguments, or a value alone.
#[derive(Debug)]
pub(super) struct Command<'a> {
    pub(super) head: Operand<'a>,
    pub(super) arguments: Vec<Operand<'a>>,
}

#[derive(Debug)]
pub(super) enum Operand<'a> {
    Function(&'a str),
    Text(String),
    Number(i64),
    /// What templates begin with: all addresses.
    Dot,
    Inner(Box<Pipeline<'a>>),
}

/// Parentheses within each other.
const DEPTH_MAX: usize = 16;

pub(super) fn parse(text: &str) -> Result<Vec<Part<'_>>, TemplateError> {
    let mut parts = Vec::new();
    let (mut rest, mut is_trimmed) = (text, false);
    loop {
        let begin = rest.find("{{");
        let (before, after) = begin.map_or((rest, ""), |at| (&rest[..at], &rest[at + 2..]));
        let before = if is_trimmed { before.trim_start() } else { before };
        let (before, after) = match after.strip_prefix('-') {
            Some(inner) if inner.starts_with(char::is_whitespace) => (before.trim_end(), inner),
            _ => (before, after),
        };
        if !before.is_empty() {
            parts.push(Part::Text(before));
        }
        if begin.is_none() {
            return Ok(parts);
        }
        let mut action = Action { tokens: Vec::new(), after };
        is_trimmed = action.read()?;
        rest = action.after;
        let mut tokens = action.tokens.into_iter().peekable();
        parts.push(Part::Pipeline(pipeline(&mut tokens, 0)?));
        if tokens.next().is_some() {
            return Err(wrong("a ) has no ( before it"));
        }
    }
}

fn wrong(text: impl Into<String>) -> TemplateError {
    TemplateError::Syntax(text.into())
}

#[derive(Debug)]
enum Token<'a> {
    Operand(Operand<'a>),
    Pipe,
    Open,
    Close,
}

/// What stands between `{{` and `}}`.
struct Action<'a> {
    tokens: Vec<Token<'a>>,
    after: &'a str,
}

impl<'a> Action<'a> {
    /// Reads up to its end, and tells whether the spaces after it are to go.
    fn read(&mut self) -> Result<bool, TemplateError> {
        loop {
            let text = self.after.trim_start();
            let is_apart = text.len() < self.after.len();
            if let Some(after) = text.strip_prefix("}}") {
                self.after = after;
                return Ok(false);
            }
            if let (true, Some(after)) = (is_apart, text.strip_prefix("-}}")) {
                self.after = after;
                return Ok(true);
            }
            let (token, after) = token(text)?;
            self.tokens.push(token);
            self.after = after;
        }
    }
}

fn token(text: &str) -> Result<(Token<'_>, &str), TemplateError> {
    let Some(first) = text.chars().next() else { return Err(wrong("a {{ has no }} after it")) };
    let rest = &text[first.len_utf8()..];
    let operand = |(operand, rest)| Ok((Token::Operand(operand), rest));
    match first {
        '|' => Ok((Token::Pipe, rest)),
        '(' => Ok((Token::Open, rest)),
        ')' => Ok((Token::Close, rest)),
        '"' => operand(quoted(rest)?),
        '`' => match rest.split_once('`') {
            Some((raw, rest)) => operand((Operand::Text(raw.to_owned()), rest)),
            None => Err(wrong("a text has no ` at its end")),
        },
        '0'..='9' | '+' | '-' => {
            let (word, rest) = word(text, 1);
            let number = word.parse().map_err(|_| wrong(format!("{word} is no whole number")))?;
            operand((Operand::Number(number), rest))
        }
        '.' | '$' => match word(rest, 0) {
            ("", rest) => operand((Operand::Dot, rest)),
            (name, _) => Err(wrong(format!("{first}{name}: fields and variables are not read"))),
        },
        _ if first.is_alphabetic() || first == '_' => {
            let (word, rest) = word(text, 0);
            operand((Operand::Function(word), rest))
        }
        _ => Err(wrong(format!("{first} cannot stand in a template"))),
    }
}

/// Letters and digits at the beginning, after `skipped` bytes of other things.
fn word(text: &str, skipped: usize) -> (&str, &str) {
    let is_end = |c: char| !c.is_alphanumeric() && c != '_';
    let end = text[skipped..].find(is_end).map_or(text.len(), |at| skipped + at);
    text.split_at(end)
}

/// A text up to its quotation mark.
fn quoted(text: &str) -> Result<(Operand<'_>, &str), TemplateError> {
    let mut value = String::new();
    let mut chars = text.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '"' => return Ok((Operand::Text(value), &text[at + 1..])),
            '\\' => match chars.next() {
                Some((_, escaped @ ('\\' | '"'))) => value.push(escaped),
                Some((_, 'n')) => value.push('\n'),
                Some((_, 't')) => value.push('\t'),
                Some((_, other)) => {
                    let text =
                        format!("\\{other} is unknown: write \\\\{other}, or `…` for the text");
                    return Err(wrong(text));
                }
                None => break,
            },
            other => value.push(other),
        }
    }
    Err(wrong("a text has no \" at its end"))
}

type Tokens<'a> = std::iter::Peekable<std::vec::IntoIter<Token<'a>>>;

/// A pipeline up to the `)` that ends it, or the end.
fn pipeline<'a>(tokens: &mut Tokens<'a>, depth: usize) -> Result<Pipeline<'a>, TemplateError> {
    let mut pipeline = Pipeline { first: command(tokens, depth)?, more: Vec::new() };
    while tokens.next_if(|it| matches!(it, Token::Pipe)).is_some() {
        pipeline.more.push(command(tokens, depth)?);
    }
    Ok(pipeline)
}

fn command<'a>(tokens: &mut Tokens<'a>, depth: usize) -> Result<Command<'a>, TemplateError> {
    let Some(head) = operand(tokens, depth)? else { return Err(wrong("a function is missing")) };
    let mut arguments = Vec::new();
    while let Some(argument) = operand(tokens, depth)? {
        arguments.push(argument);
    }
    Ok(Command { head, arguments })
}

fn operand<'a>(
    tokens: &mut Tokens<'a>,
    depth: usize,
) -> Result<Option<Operand<'a>>, TemplateError> {
    match tokens.next_if(|it| matches!(it, Token::Operand(_) | Token::Open)) {
        Some(Token::Operand(operand)) => Ok(Some(operand)),
        Some(Token::Open) if depth == DEPTH_MAX => {
            Err(wrong(format!("more than {DEPTH_MAX} parentheses are within each other")))
        }
        Some(Token::Open) => {
            let inner = pipeline(tokens, depth + 1)?;
            match tokens.next() {
                Some(Token::Close) => Ok(Some(Operand::Inner(Box::new(inner)))),
                _ => Err(wrong("a ( has no ) after it")),
            }
        }
        Some(Token::Pipe | Token::Close) | None => Ok(None),
    }
}
