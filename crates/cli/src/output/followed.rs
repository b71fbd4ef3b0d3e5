//! Hands events to the clients that follow the agent's log.

use std::fmt::{Debug, Write};

use control::monitor;
use tracing::field::{Field, Visit};
use tracing::subscriber::Interest;
use tracing::{Event, Level, Metadata, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::layer::{Context, Filter};
use tracing_subscriber::registry::LookupSpan;

/// A layer that costs nothing while nobody follows.
pub(super) fn layer<S>() -> impl Layer<S>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
{
    Followed.with_filter(Wanted)
}

/// What any client wants now.
struct Wanted;

impl<S> Filter<S> for Wanted {
    fn enabled(&self, metadata: &Metadata<'_>, _: &Context<'_, S>) -> bool {
        is_wanted(metadata)
    }

    fn callsite_enabled(&self, metadata: &'static Metadata<'static>) -> Interest {
        if is_wanted(metadata) { Interest::always() } else { Interest::never() }
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        Some(monitor::most_wanted().map_or(LevelFilter::OFF, LevelFilter::from_level))
    }
}

fn is_wanted(metadata: &Metadata<'_>) -> bool {
    let level = *metadata.level();
    // What libraries say of each frame is for who asks for everything.
    let is_chatter = level == Level::DEBUG
        && super::CHATTY.iter().any(|it| metadata.target().split("::").next() == Some(it))
        && !monitor::wants(Level::TRACE);
    monitor::wants(level) && !is_chatter
}

struct Followed;

impl<S: Subscriber> Layer<S> for Followed {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let mut read = Read::default();
        event.record(&mut read);
        let metadata = event.metadata();
        monitor::publish(&monitor::Event {
            level: *metadata.level(),
            target: metadata.target(),
            message: &read.message,
            fields: &read.fields,
            at_ms: runtime::unix_ms(),
        });
    }
}

/// The message of an event, and its other fields.
#[derive(Default)]
struct Read {
    message: String,
    fields: Vec<(&'static str, String)>,
}

impl Visit for Read {
    fn record_str(&mut self, field: &Field, value: &str) {
        if field.name() == "message" {
            self.message.push_str(value);
        } else {
            self.fields.push((field.name(), value.to_owned()));
        }
    }

    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        let mut text = String::new();
        let _ = write!(text, "{value:?}");
        self.record_str(field, &text);
    }
}
