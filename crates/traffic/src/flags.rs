use std::fmt;

macro_rules! response_flags {
    ($($variant:ident $short:literal $long:literal,)*) => {
        /// Why a response is not what the endpoint said, in Envoy's words. The order is the order
        /// of printing.
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
        #[repr(u8)]
        pub enum ResponseFlag {
            $(#[doc = concat!("`", $short, "`: ", $long, ".")] $variant,)*
        }

        impl ResponseFlag {
            /// All flags, in the order of printing.
            pub const ALL: &[ResponseFlag] = &[$(ResponseFlag::$variant,)*];

            /// Envoy's short name.
            #[must_use]
            pub fn as_str(self) -> &'static str {
                match self {
                    $(ResponseFlag::$variant => $short,)*
                }
            }

            /// Envoy's long name.
            #[must_use]
            pub fn long_name(self) -> &'static str {
                match self {
                    $(ResponseFlag::$variant => $long,)*
                }
            }
        }
    };
}

response_flags! {
    FailedLocalHealthCheck "LH" "FailedLocalHealthCheck",
    NoHealthyUpstream "UH" "NoHealthyUpstream",
    UpstreamRequestTimeout "UT" "UpstreamRequestTimeout",
    LocalReset "LR" "LocalReset",
    UpstreamRemoteReset "UR" "UpstreamRemoteReset",
    UpstreamConnectionFailure "UF" "UpstreamConnectionFailure",
    UpstreamConnectionTermination "UC" "UpstreamConnectionTermination",
    UpstreamOverflow "UO" "UpstreamOverflow",
    NoRouteFound "NR" "NoRouteFound",
    DelayInjected "DI" "DelayInjected",
    FaultInjected "FI" "FaultInjected",
    RateLimited "RL" "RateLimited",
    UnauthorizedExternalService "UAEX" "UnauthorizedExternalService",
    RateLimitServiceError "RLSE" "RateLimitServiceError",
    DownstreamConnectionTermination "DC" "DownstreamConnectionTermination",
    UpstreamRetryLimitExceeded "URX" "UpstreamRetryLimitExceeded",
    StreamIdleTimeout "SI" "StreamIdleTimeout",
    InvalidEnvoyRequestHeaders "IH" "InvalidEnvoyRequestHeaders",
    DownstreamProtocolError "DPE" "DownstreamProtocolError",
    UpstreamMaxStreamDurationReached "UMSDR" "UpstreamMaxStreamDurationReached",
    ResponseFromCacheFilter "RFCF" "ResponseFromCacheFilter",
    NoFilterConfigFound "NFCF" "NoFilterConfigFound",
    DurationTimeout "DT" "DurationTimeout",
    UpstreamProtocolError "UPE" "UpstreamProtocolError",
    NoClusterFound "NC" "NoClusterFound",
    OverloadManagerTerminated "OM" "OverloadManagerTerminated",
    DnsResolutionFailed "DF" "DnsResolutionFailed",
    DropOverload "DO" "DropOverload",
    DownstreamRemoteReset "DR" "DownstreamRemoteReset",
    UnconditionalDropOverload "UDO" "UnconditionalDropOverload",
}

impl ResponseFlag {
    /// Status of the answer that this proxy gives in such a case when nothing else says one; `None`
    /// where the flag stands beside an answer of another making, or where there is nobody left to
    /// answer.
    ///
    /// A response that had begun keeps its own. A stream that is idle gets 408 while its request
    /// has not ended, and 504 after.
    #[must_use]
    pub fn status(self) -> Option<u16> {
        match self {
            ResponseFlag::FailedLocalHealthCheck
            | ResponseFlag::NoHealthyUpstream
            | ResponseFlag::LocalReset
            | ResponseFlag::UpstreamRemoteReset
            | ResponseFlag::UpstreamConnectionFailure
            | ResponseFlag::UpstreamConnectionTermination
            | ResponseFlag::UpstreamOverflow
            | ResponseFlag::NoClusterFound
            | ResponseFlag::OverloadManagerTerminated
            | ResponseFlag::DnsResolutionFailed
            | ResponseFlag::DropOverload
            | ResponseFlag::UnconditionalDropOverload => Some(503),
            ResponseFlag::UpstreamProtocolError => Some(502),
            ResponseFlag::UpstreamRequestTimeout
            | ResponseFlag::UpstreamMaxStreamDurationReached => Some(504),
            ResponseFlag::StreamIdleTimeout => Some(408),
            ResponseFlag::NoRouteFound => Some(404),
            ResponseFlag::RateLimited => Some(429),
            ResponseFlag::UnauthorizedExternalService => Some(403),
            ResponseFlag::InvalidEnvoyRequestHeaders | ResponseFlag::DownstreamProtocolError => {
                Some(400)
            }
            ResponseFlag::RateLimitServiceError | ResponseFlag::NoFilterConfigFound => Some(500),
            ResponseFlag::DelayInjected
            | ResponseFlag::FaultInjected
            | ResponseFlag::DownstreamConnectionTermination
            | ResponseFlag::UpstreamRetryLimitExceeded
            | ResponseFlag::ResponseFromCacheFilter
            | ResponseFlag::DurationTimeout
            | ResponseFlag::DownstreamRemoteReset => None,
        }
    }
}

impl fmt::Display for ResponseFlag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A set of [`ResponseFlag`]s. `Display` joins the short names with `,`; an empty set is `-`.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct ResponseFlags(u32);

impl ResponseFlags {
    /// No flags.
    pub const NONE: ResponseFlags = ResponseFlags(0);

    /// True when no flag is set.
    #[must_use]
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Sets a flag.
    pub fn insert(&mut self, flag: ResponseFlag) {
        self.0 |= 1 << flag as u8;
    }

    /// The set with one more flag.
    #[must_use]
    pub fn with(mut self, flag: ResponseFlag) -> Self {
        self.insert(flag);
        self
    }

    /// Whether the flag is set.
    #[must_use]
    pub fn contains(self, flag: ResponseFlag) -> bool {
        self.0 & (1 << flag as u8) != 0
    }

    /// The flags that are set, in the order of printing.
    pub fn iter(self) -> impl Iterator<Item = ResponseFlag> {
        ResponseFlag::ALL.iter().copied().filter(move |flag| self.contains(*flag))
    }

    /// The set as a number, a key for counters by flags.
    #[must_use]
    pub fn bits(self) -> u32 {
        self.0
    }
}

impl From<ResponseFlag> for ResponseFlags {
    fn from(flag: ResponseFlag) -> Self {
        ResponseFlags::NONE.with(flag)
    }
}

impl fmt::Display for ResponseFlags {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_empty() {
            return f.write_str("-");
        }
        for (position, flag) in self.iter().enumerate() {
            if position > 0 {
                f.write_str(",")?;
            }
            f.write_str(flag.as_str())?;
        }
        Ok(())
    }
}

impl fmt::Debug for ResponseFlags {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ResponseFlags({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::{ResponseFlag, ResponseFlags};

    #[test]
    fn flags_print_in_the_order_of_the_list_joined_by_commas() {
        let flags = ResponseFlags::NONE
            .with(ResponseFlag::UpstreamRetryLimitExceeded)
            .with(ResponseFlag::UpstreamConnectionFailure);
        assert_eq!(flags.to_string(), "UF,URX");
        assert_eq!(ResponseFlags::NONE.to_string(), "-");
    }

    #[test]
    fn the_list_is_envoys_in_envoys_order() {
        let printed: Vec<_> = ResponseFlag::ALL.iter().map(|it| it.as_str()).collect();
        assert_eq!(
            printed.join(" "),
            "LH UH UT LR UR UF UC UO NR DI FI RL UAEX RLSE DC URX SI IH DPE UMSDR RFCF NFCF DT \
             UPE NC OM DF DO DR UDO"
        );
    }

    #[test]
    fn flags_have_the_status_that_users_expect() {
        let statuses = |wanted: u16| {
            let of = ResponseFlag::ALL.iter().filter(|it| it.status() == Some(wanted));
            of.map(|it| it.as_str()).collect::<Vec<_>>().join(" ")
        };
        assert_eq!(statuses(503), "LH UH LR UR UF UC UO NC OM DF DO UDO");
        assert_eq!(statuses(504), "UT UMSDR");
        assert_eq!(statuses(502), "UPE");
        assert_eq!(statuses(429), "RL");
        assert_eq!(statuses(404), "NR");
        assert_eq!(statuses(403), "UAEX");
        assert_eq!(statuses(400), "IH DPE");
    }

    #[test]
    fn all_flags_fit_and_are_told_apart() {
        for flag in ResponseFlag::ALL {
            assert_eq!(ResponseFlags::from(*flag).to_string(), flag.as_str());
        }
    }
}
