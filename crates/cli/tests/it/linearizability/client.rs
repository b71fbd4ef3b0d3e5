//! A client that asks for keys by chance, and writes down what it asked and what was answered.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::Ordering;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use super::history::{Input, Operation, Output, Seen, SessionNumber};
use super::{KEYS, Record, Stage};
use crate::support::HANG;

pub(crate) struct Client<'a> {
    stage: &'a Stage,
    rng: StdRng,
    /// The session that it made last, if it has not ended it.
    session: Option<SessionNumber>,
    /// The index of each key when it read it last.
    indexes: [u64; KEYS],
}

impl<'a> Client<'a> {
    pub(crate) fn new(stage: &'a Stage, seed: u64) -> Self {
        Self { stage, rng: StdRng::seed_from_u64(seed), session: None, indexes: [0; KEYS] }
    }

    /// Asks until nobody answers.
    pub(crate) fn ask_until_it_dies(&mut self, http: SocketAddr) -> Vec<Record> {
        let mut records = Vec::new();
        let Ok(mut connection) = Connection::open(http) else { return records };
        while self.step(&mut connection, &mut records).is_ok() {}
        records
    }

    /// Reads every key once.
    pub(crate) fn read_all(&mut self, http: SocketAddr) -> Vec<Record> {
        let mut connection = Connection::open(http).expect("the agent is there");
        let mut records = Vec::new();
        for key in 0..KEYS {
            let answered = self.ask(&mut connection, key, Input::Get, &mut records);
            answered.expect("the agent answers");
        }
        records
    }

    fn step(&mut self, connection: &mut Connection, records: &mut Vec<Record>) -> io::Result<()> {
        let session = match self.session {
            Some(session) => session,
            None => self.make_session(connection)?,
        };
        let key = self.rng.random_range(0..KEYS);
        let index = self.indexes[key];
        match self.rng.random_range(0..100) {
            0..25 => self.ask(connection, key, Input::Get, records),
            25..35 => {
                let value = self.value();
                self.ask(connection, key, Input::Set { value }, records)
            }
            35..45 => {
                let value = self.value();
                self.ask(connection, key, Input::Cas { index, value }, records)
            }
            45..55 => {
                self.ask(connection, key, Input::Get, records)?;
                let (index, value) = (self.indexes[key], self.value());
                self.ask(connection, key, Input::Cas { index, value }, records)
            }
            55..58 => self.ask(connection, key, Input::Delete, records),
            58..61 => self.ask(connection, key, Input::DeleteCas { index }, records),
            61..78 => {
                let (session, value) = (self.often(session), self.value());
                self.ask(connection, key, Input::Acquire { session, value }, records)
            }
            78..99 => {
                let (session, value) = (self.often(session), self.value());
                self.ask(connection, key, Input::Release { session, value }, records)
            }
            _ => self.end_session(connection, session, records),
        }
    }

    fn value(&self) -> u64 {
        self.stage.values.fetch_add(1, Ordering::Relaxed) + 1
    }

    /// Its own session, but now and then one of the last that anybody made.
    fn often(&mut self, own: SessionNumber) -> SessionNumber {
        if self.rng.random_range(0..5) > 0 {
            return own;
        }
        let made =
            self.stage.sessions.lock().expect("nobody panics with it").len() as SessionNumber;
        self.rng.random_range(made.saturating_sub(10)..made)
    }

    fn make_session(&mut self, connection: &mut Connection) -> io::Result<SessionNumber> {
        let answer = connection.exchange("PUT", "/v1/session/create", r#"{"LockDelay":"0s"}"#)?;
        let made: serde_json::Value = serde_json::from_str(&answer.body).expect("JSON");
        let id = made["ID"].as_str().expect("an id").to_owned();
        let mut sessions = self.stage.sessions.lock().expect("nobody panics with it");
        sessions.push(id);
        let number = sessions.len() as SessionNumber - 1;
        self.session = Some(number);
        Ok(number)
    }

    /// If nobody answers it is ended once more later, which does no harm.
    fn end_session(
        &mut self,
        connection: &mut Connection,
        session: SessionNumber,
        records: &mut Vec<Record>,
    ) -> io::Result<()> {
        let path = format!("/v1/session/destroy/{}", self.id(session));
        self.record(connection, None, Input::End { session }, ("PUT", &path, ""), records)?;
        self.session = None;
        Ok(())
    }

    fn ask(
        &mut self,
        connection: &mut Connection,
        key: usize,
        input: Input,
        records: &mut Vec<Record>,
    ) -> io::Result<()> {
        let path = format!("/v1/kv/keys/{key}");
        let (method, query, value) = match &input {
            Input::Get => ("GET", String::new(), None),
            Input::Set { value } => ("PUT", String::new(), Some(value)),
            Input::Cas { index, value } => ("PUT", format!("&cas={index}"), Some(value)),
            Input::Delete => ("DELETE", String::new(), None),
            Input::DeleteCas { index } => ("DELETE", format!("&cas={index}"), None),
            Input::Acquire { session, value } => {
                ("PUT", format!("&acquire={}", self.id(*session)), Some(value))
            }
            Input::Release { session, value } => {
                ("PUT", format!("&release={}", self.id(*session)), Some(value))
            }
            Input::End { .. } => unreachable!("it is asked of no key"),
        };
        // The flags say the value once more.
        let flags = value.map_or(String::new(), |value| format!("?flags={value}{query}"));
        let query = if value.is_some() { flags } else { query.replacen('&', "?", 1) };
        let body = value.map_or(String::new(), u64::to_string);
        let request = (method, &*format!("{path}{query}"), &*body);
        let output = self.record(connection, Some(key), input.clone(), request, records)?;
        match (output, input) {
            (Output::Seen(seen), _) => {
                self.indexes[key] = seen.map_or(0, |seen| seen.modify_index);
            }
            // Somebody else ended it, or nobody answered when it was ended.
            (Output::NoSuchSession, Input::Acquire { session, .. })
                if self.session == Some(session) =>
            {
                self.session = None;
            }
            _ => {}
        }
        Ok(())
    }

    fn record(
        &self,
        connection: &mut Connection,
        key: Option<usize>,
        input: Input,
        (method, path, body): (&str, &str, &str),
        records: &mut Vec<Record>,
    ) -> io::Result<Output> {
        let called = self.stage.now();
        let answer = connection.exchange(method, path, body);
        let returned = self.stage.now();
        let output = match &answer {
            Ok(answer) => self.output(&input, answer),
            Err(_) => Output::Unknown,
        };
        records.push((key, Operation { called, returned, input, output: output.clone() }));
        answer.map(|_| {
            self.stage.answered.fetch_add(1, Ordering::Relaxed);
            output
        })
    }

    fn output(&self, input: &Input, answer: &Answer) -> Output {
        match (input, answer.status, answer.body.trim()) {
            (Input::Get, 404, "") => Output::Seen(None),
            (Input::Get, 200, body) => Output::Seen(Some(self.seen(body))),
            (_, 200, "true") => Output::Done(true),
            (_, 200, "false") => Output::Done(false),
            (Input::Acquire { .. }, 500, body) if body.contains("invalid session") => {
                Output::NoSuchSession
            }
            _ => panic!("{input:?} was answered with {answer:?}"),
        }
    }

    fn seen(&self, body: &str) -> Seen {
        let entries: serde_json::Value = serde_json::from_str(body).expect("JSON");
        let entry = &entries[0];
        let number = |name: &str| entry[name].as_u64().unwrap_or_else(|| panic!("{name}: {body}"));
        let session = entry.get("Session").map(|id| self.number(id.as_str().expect("an id")));
        let seen = Seen {
            value: number("Flags"),
            modify_index: number("ModifyIndex"),
            lock_index: number("LockIndex"),
            session,
        };
        let value = base64::Engine::decode(
            &base64::engine::general_purpose::STANDARD,
            entry["Value"].as_str().unwrap_or_default(),
        );
        let value = value.ok().and_then(|it| String::from_utf8(it).ok());
        assert_eq!(value, Some(seen.value.to_string()), "value and flags come together: {body}");
        assert!(number("CreateIndex") <= seen.modify_index, "{body}");
        seen
    }

    fn id(&self, session: SessionNumber) -> String {
        self.stage.sessions.lock().expect("nobody panics with it")[session as usize].clone()
    }

    fn number(&self, id: &str) -> SessionNumber {
        let sessions = self.stage.sessions.lock().expect("nobody panics with it");
        let place = sessions.iter().position(|it| it == id);
        place.unwrap_or_else(|| panic!("a key is held by {id}, which nobody made")) as SessionNumber
    }
}

#[derive(Debug)]
struct Answer {
    status: u16,
    body: String,
}

/// A connection that is kept, so that a request costs little.
struct Connection {
    stream: BufReader<TcpStream>,
}

impl Connection {
    fn open(http: SocketAddr) -> io::Result<Self> {
        let stream = TcpStream::connect(http)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(HANG))?;
        Ok(Self { stream: BufReader::new(stream) })
    }

    /// The whole answer; an error if the connection ends before it does.
    fn exchange(&mut self, method: &str, path: &str, body: &str) -> io::Result<Answer> {
        let length = body.len();
        let request = format!(
            "{method} {path} HTTP/1.1\r\nHost: a\r\nContent-Length: {length}\r\n\r\n{body}"
        );
        self.stream.get_mut().write_all(request.as_bytes())?;
        let status = self.line()?.get(9..12).and_then(|it| it.parse().ok());
        let status = status.ok_or(io::ErrorKind::UnexpectedEof)?;
        let mut length = 0;
        loop {
            let line = self.line()?.to_lowercase();
            if line.is_empty() {
                break;
            }
            if let Some(value) = line.strip_prefix("content-length:") {
                length = value.trim().parse().expect("a length");
            }
        }
        let mut body = vec![0; length];
        self.stream.read_exact(&mut body)?;
        Ok(Answer { status, body: String::from_utf8(body).expect("text") })
    }

    /// A whole line without its end.
    fn line(&mut self) -> io::Result<String> {
        let mut line = String::new();
        self.stream.read_line(&mut line)?;
        match line.strip_suffix("\r\n") {
            Some(line) => Ok(line.to_owned()),
            None => Err(io::ErrorKind::UnexpectedEof.into()),
        }
    }
}
