//! The names of the fields that Envoy 1.40 has, so that what it does not have is told from what is not honored here.
//! This file is long because it is a table.
//!
//! One word for each field: `name` alone for a value whose absence means zero, `name=ZERO` for an enum with its zero,
//! `name?` for one whose presence alone says something (messages and wrapped values).

/// A message of Envoy's API.
#[derive(Debug)]
pub(crate) struct Schema {
    /// Its name without `envoy.`.
    pub(crate) name: &'static str,
    /// Its fields.
    pub(crate) fields: &'static str,
}

pub(crate) const BOOTSTRAP: Schema = Schema {
    name: "config.bootstrap.v3.Bootstrap",
    fields: "node? node_context_params static_resources? dynamic_resources? cluster_manager? \
             hds_config? flags_path stats_sinks deferred_stat_options? stats_config? \
             stats_flush_interval? stats_flush_on_admin? stats_eviction_interval? watchdog? \
             watchdogs? tracing? layered_runtime? admin? overload_manager? enable_dispatcher_stats \
             header_prefix stats_server_version_override? use_tcp_for_dns_lookups \
             dns_resolution_config? typed_dns_resolver_config? bootstrap_extensions fatal_actions \
             config_sources default_config_source? default_socket_interface \
             certificate_provider_instances inline_headers perf_tracing_file_path \
             default_regex_engine? xds_delegate_extension? xds_config_tracker_extension? \
             listener_manager? application_log_config? grpc_async_client_manager_config? \
             memory_allocator_manager? enable_worker_cpu_affinity",
};
pub(crate) const ADMIN: Schema = Schema {
    name: "config.bootstrap.v3.Admin",
    fields: "access_log access_log_path profile_path address? socket_options ignore_global_conn_limit \
             allow_paths",
};
pub(crate) const STATIC_RESOURCES: Schema = Schema {
    name: "config.bootstrap.v3.Bootstrap.StaticResources",
    fields: "listeners clusters secrets",
};
pub(crate) const CLUSTER_MANAGER: Schema = Schema {
    name: "config.bootstrap.v3.ClusterManager",
    fields: "local_cluster_name outlier_detection? upstream_bind_config? load_stats_config? \
             enable_deferred_cluster_creation",
};
pub(crate) const NODE: Schema = Schema {
    name: "config.core.v3.Node",
    fields: "id cluster metadata? dynamic_parameters locality? user_agent_name user_agent_version? \
             user_agent_build_version? extensions client_features listening_addresses",
};
pub(crate) const LOCALITY: Schema =
    Schema { name: "config.core.v3.Locality", fields: "region zone sub_zone" };
pub(crate) const ADDRESS: Schema = Schema {
    name: "config.core.v3.Address",
    fields: "socket_address? pipe? envoy_internal_address?",
};
pub(crate) const SOCKET_ADDRESS: Schema = Schema {
    name: "config.core.v3.SocketAddress",
    fields: "protocol=TCP address port_value? named_port? resolver_name ipv4_compat \
             network_namespace_filepath",
};
pub(crate) const DATA_SOURCE: Schema = Schema {
    name: "config.core.v3.DataSource",
    fields: "filename? inline_bytes? inline_string? environment_variable? watched_directory?",
};
pub(crate) const METADATA: Schema =
    Schema { name: "config.core.v3.Metadata", fields: "filter_metadata typed_filter_metadata" };
pub(crate) const CIDR_RANGE: Schema =
    Schema { name: "config.core.v3.CidrRange", fields: "address_prefix prefix_len?" };
pub(crate) const TRANSPORT_SOCKET: Schema =
    Schema { name: "config.core.v3.TransportSocket", fields: "name typed_config?" };
pub(crate) const TYPED_EXTENSION: Schema =
    Schema { name: "config.core.v3.TypedExtensionConfig", fields: "name typed_config?" };
pub(crate) const HEADER_VALUE: Schema =
    Schema { name: "config.core.v3.HeaderValue", fields: "key value raw_value" };
pub(crate) const HEADER_VALUE_OPTION: Schema = Schema {
    name: "config.core.v3.HeaderValueOption",
    fields: "header? append? append_action=APPEND_IF_EXISTS_OR_ADD keep_empty_value",
};
pub(crate) const RUNTIME_FRACTION: Schema = Schema {
    name: "config.core.v3.RuntimeFractionalPercent",
    fields: "default_value? runtime_key",
};
pub(crate) const RUNTIME_FLAG: Schema =
    Schema { name: "config.core.v3.RuntimeFeatureFlag", fields: "default_value? runtime_key" };
pub(crate) const HTTP_PROTOCOL_COMMON: Schema = Schema {
    name: "config.core.v3.HttpProtocolOptions",
    fields: "idle_timeout? max_connection_duration? max_connection_duration_jitter? \
             max_headers_count? max_response_headers_kb? max_stream_duration? \
             headers_with_underscores_action=ALLOW max_requests_per_connection?",
};
pub(crate) const HTTP1_OPTIONS: Schema = Schema {
    name: "config.core.v3.Http1ProtocolOptions",
    fields: "allow_absolute_url? accept_http_10 default_host_for_http_10 header_key_format? \
             enable_trailers allow_chunked_length override_stream_error_on_invalid_http_message? \
             send_fully_qualified_url use_balsa_parser? allow_custom_methods ignore_http_11_upgrade",
};
pub(crate) const HTTP2_OPTIONS: Schema = Schema {
    name: "config.core.v3.Http2ProtocolOptions",
    fields: "hpack_table_size? max_concurrent_streams? initial_stream_window_size? \
             initial_connection_window_size? allow_connect allow_metadata max_outbound_frames? \
             max_outbound_control_frames? max_consecutive_inbound_frames_with_empty_payload? \
             max_inbound_priority_frames_per_stream? \
             max_inbound_window_update_frames_per_data_frame_sent? \
             stream_error_on_invalid_http_messaging override_stream_error_on_invalid_http_message? \
             custom_settings_parameters connection_keepalive? use_oghttp2_codec? max_metadata_size? \
             enable_huffman_encoding? max_header_field_size_kb? disallow_obs_text? \
             stream_reset_burst? stream_reset_rate?",
};
pub(crate) const UPSTREAM_HTTP_OPTIONS: Schema = Schema {
    name: "config.core.v3.UpstreamHttpProtocolOptions",
    fields: "auto_sni auto_san_validation override_auto_sni_header",
};
pub(crate) const SUBSTITUTION_FORMAT: Schema = Schema {
    name: "config.core.v3.SubstitutionFormatString",
    fields: "text_format? json_format? text_format_source? omit_empty_values content_type formatters \
             json_format_options?",
};
pub(crate) const PROXY_PROTOCOL_CONFIG: Schema = Schema {
    name: "config.core.v3.ProxyProtocolConfig",
    fields: "version=V1 pass_through_tlvs? added_tlvs",
};
pub(crate) const HEALTH_CHECK: Schema = Schema {
    name: "config.core.v3.HealthCheck",
    fields: "name timeout? interval? initial_jitter? interval_jitter? interval_jitter_percent \
             unhealthy_threshold? healthy_threshold? alt_port? reuse_connection? http_health_check? \
             tcp_health_check? grpc_health_check? custom_health_check? no_traffic_interval? \
             no_traffic_healthy_interval? unhealthy_interval? unhealthy_edge_interval? \
             healthy_edge_interval? event_log_path event_logger event_service? \
             always_log_health_check_failures always_log_health_check_success tls_options? \
             transport_socket_match_criteria?",
};
pub(crate) const HTTP_HEALTH_CHECK: Schema = Schema {
    name: "config.core.v3.HealthCheck.HttpHealthCheck",
    fields: "host path send? receive response_buffer_size? request_headers_to_add \
             request_headers_to_remove expected_statuses retriable_statuses codec_client_type=HTTP1 \
             use_alpn_protocol service_name_matcher? method=METHOD_UNSPECIFIED",
};
pub(crate) const TCP_HEALTH_CHECK: Schema = Schema {
    name: "config.core.v3.HealthCheck.TcpHealthCheck",
    fields: "send? receive proxy_protocol_config?",
};
pub(crate) const GRPC_HEALTH_CHECK: Schema = Schema {
    name: "config.core.v3.HealthCheck.GrpcHealthCheck",
    fields: "service_name authority initial_metadata",
};
pub(crate) const HEALTH_CHECK_PAYLOAD: Schema =
    Schema { name: "config.core.v3.HealthCheck.Payload", fields: "text? binary?" };
pub(crate) const LISTENER: Schema = Schema {
    name: "config.listener.v3.Listener",
    fields: "name address? additional_addresses stat_prefix stats_matcher? filter_chains fcds_config? \
             filter_chain_matcher? use_original_dst? default_filter_chain? \
             per_connection_buffer_limit_bytes? per_connection_buffer_high_watermark_timeout? \
             metadata? deprecated_v1? drain_type=DEFAULT listener_filters listener_filters_timeout? \
             continue_on_listener_filters_timeout transparent? freebind? socket_options \
             tcp_fast_open_queue_length? traffic_direction=UNSPECIFIED udp_listener_config? \
             api_listener? connection_balance_config? reuse_port enable_reuse_port? access_log \
             tcp_backlog_size? max_connections_to_accept_per_socket_event? bind_to_port? \
             internal_listener? enable_mptcp ignore_global_conn_limit bypass_overload_manager \
             tcp_keepalive?",
};
pub(crate) const FILTER_CHAIN: Schema = Schema {
    name: "config.listener.v3.FilterChain",
    fields: "filter_chain_match? filters use_proxy_proto? metadata? transport_socket? \
             transport_socket_connect_timeout? name",
};
pub(crate) const FILTER_CHAIN_MATCH: Schema = Schema {
    name: "config.listener.v3.FilterChainMatch",
    fields: "destination_port? prefix_ranges address_suffix suffix_len? direct_source_prefix_ranges \
             source_type=ANY source_prefix_ranges source_ports server_names transport_protocol \
             application_protocols",
};
pub(crate) const NETWORK_FILTER: Schema =
    Schema { name: "config.listener.v3.Filter", fields: "name typed_config? config_discovery?" };
pub(crate) const LISTENER_FILTER: Schema = Schema {
    name: "config.listener.v3.ListenerFilter",
    fields: "name typed_config? config_discovery? filter_disabled?",
};
pub(crate) const PROXY_PROTOCOL_FILTER: Schema = Schema {
    name: "extensions.filters.listener.proxy_protocol.v3.ProxyProtocol",
    fields: "rules allow_requests_without_proxy_protocol pass_through_tlvs? disallowed_versions \
             stat_prefix tlv_location=DYNAMIC_METADATA",
};
pub(crate) const TLS_INSPECTOR: Schema = Schema {
    name: "extensions.filters.listener.tls_inspector.v3.TlsInspector",
    fields: "enable_ja3_fingerprinting? enable_ja4_fingerprinting? initial_read_buffer_size? \
             close_connection_on_client_hello_parsing_errors max_client_hello_size?",
};
pub(crate) const HTTP_INSPECTOR: Schema =
    Schema { name: "extensions.filters.listener.http_inspector.v3.HttpInspector", fields: "" };
pub(crate) const HTTP_MANAGER: Schema = Schema {
    name: "extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
    fields: "codec_type=AUTO stat_prefix rds? route_config? scoped_routes? http_filters \
             add_user_agent? tracing? common_http_protocol_options? \
             http1_safe_max_connection_duration http_protocol_options? http2_protocol_options? \
             http3_protocol_options? server_name server_header_transformation=OVERWRITE \
             scheme_header_transformation? max_request_headers_kb? stream_idle_timeout? \
             stream_flush_timeout? request_timeout? request_headers_timeout? drain_timeout? \
             drain_timeout_jitter? delayed_close_timeout? access_log access_log_flush_interval? \
             flush_access_log_on_new_request access_log_options? use_remote_address? \
             xff_num_trusted_hops original_ip_detection_extensions early_header_mutation_extensions \
             internal_address_config? skip_xff_append via generate_request_id? \
             preserve_external_request_id always_set_request_id_in_response \
             forward_client_cert_details=SANITIZE set_current_client_cert_details? \
             forward_client_cert_matcher? proxy_100_continue \
             represent_ipv4_remote_address_as_ipv4_mapped_ipv6 upgrade_configs normalize_path? \
             merge_slashes path_with_escaped_slashes_action=IMPLEMENTATION_SPECIFIC_DEFAULT \
             request_id_extension? local_reply_config? strip_matching_host_port strip_any_host_port? \
             stream_error_on_invalid_http_message? path_normalization_options? \
             strip_trailing_host_dot proxy_status_config? typed_header_validation_config? \
             append_x_forwarded_port append_local_overload add_proxy_protocol_connection_state? \
             forward_proto_config? record_route_resolution_stats",
};
pub(crate) const CLIENT_CERT_DETAILS: Schema = Schema {
    name: "extensions.filters.network.http_connection_manager.v3.HttpConnectionManager.SetCurrentClientCertDetails",
    fields: "subject? cert chain dns uri issuer format=TEXT",
};
pub(crate) const HTTP_UPGRADE: Schema = Schema {
    name: "extensions.filters.network.http_connection_manager.v3.HttpConnectionManager.UpgradeConfig",
    fields: "upgrade_type filters enabled?",
};
pub(crate) const HTTP_FILTER: Schema = Schema {
    name: "extensions.filters.network.http_connection_manager.v3.HttpFilter",
    fields: "name typed_config? config_discovery? is_optional disabled",
};
pub(crate) const TCP_PROXY: Schema = Schema {
    name: "extensions.filters.network.tcp_proxy.v3.TcpProxy",
    fields: "stat_prefix cluster? weighted_clusters? on_demand? metadata_match? idle_timeout? \
             downstream_idle_timeout? upstream_idle_timeout? access_log max_connect_attempts? \
             backoff_options? hash_policy tunneling_config? max_downstream_connection_duration? \
             max_downstream_connection_duration_jitter_percentage? access_log_flush_interval? \
             flush_access_log_on_connected access_log_options? proxy_protocol_tlvs \
             proxy_protocol_tlv_merge_policy=ADD_IF_ABSENT upstream_connect_mode=IMMEDIATE \
             max_early_data_bytes? check_drain_close?",
};
pub(crate) const TCP_WEIGHTED: Schema = Schema {
    name: "extensions.filters.network.tcp_proxy.v3.TcpProxy.WeightedCluster",
    fields: "clusters",
};
pub(crate) const TCP_CLUSTER_WEIGHT: Schema = Schema {
    name: "extensions.filters.network.tcp_proxy.v3.TcpProxy.WeightedCluster.ClusterWeight",
    fields: "name weight metadata_match?",
};
pub(crate) const TCP_HASH_POLICY: Schema =
    Schema { name: "type.v3.HashPolicy", fields: "source_ip? filter_state?" };
pub(crate) const ACCESS_LOG: Schema =
    Schema { name: "config.accesslog.v3.AccessLog", fields: "name filter? typed_config?" };
pub(crate) const ACCESS_LOG_FILTER: Schema = Schema {
    name: "config.accesslog.v3.AccessLogFilter",
    fields: "status_code_filter? duration_filter? not_health_check_filter? traceable_filter? \
             runtime_filter? and_filter? or_filter? header_filter? response_flag_filter? \
             grpc_status_filter? extension_filter? metadata_filter? log_type_filter?",
};
pub(crate) const LOG_COMPARISON: Schema =
    Schema { name: "config.accesslog.v3.ComparisonFilter", fields: "op=EQ value?" };
pub(crate) const STATUS_FILTER: Schema =
    Schema { name: "config.accesslog.v3.StatusCodeFilter", fields: "comparison?" };
pub(crate) const DURATION_FILTER: Schema =
    Schema { name: "config.accesslog.v3.DurationFilter", fields: "comparison?" };
pub(crate) const LOG_RUNTIME_FILTER: Schema = Schema {
    name: "config.accesslog.v3.RuntimeFilter",
    fields: "runtime_key percent_sampled? use_independent_randomness",
};
pub(crate) const AND_FILTER: Schema =
    Schema { name: "config.accesslog.v3.AndFilter", fields: "filters" };
pub(crate) const OR_FILTER: Schema =
    Schema { name: "config.accesslog.v3.OrFilter", fields: "filters" };
pub(crate) const LOG_HEADER_FILTER: Schema =
    Schema { name: "config.accesslog.v3.HeaderFilter", fields: "header?" };
pub(crate) const RESPONSE_FLAG_FILTER: Schema =
    Schema { name: "config.accesslog.v3.ResponseFlagFilter", fields: "flags" };
pub(crate) const GRPC_STATUS_FILTER: Schema =
    Schema { name: "config.accesslog.v3.GrpcStatusFilter", fields: "statuses exclude" };
pub(crate) const RUNTIME_UINT32: Schema =
    Schema { name: "config.core.v3.RuntimeUInt32", fields: "default_value runtime_key" };
pub(crate) const FILE_ACCESS_LOG: Schema = Schema {
    name: "extensions.access_loggers.file.v3.FileAccessLog",
    fields: "path format? json_format? typed_json_format? log_format?",
};
pub(crate) const STREAM_ACCESS_LOG: Schema =
    Schema { name: "extensions.access_loggers.stream.v3.StdoutAccessLog", fields: "log_format?" };
pub(crate) const ROUTE_CONFIGURATION: Schema = Schema {
    name: "config.route.v3.RouteConfiguration",
    fields: "name virtual_hosts vhds? internal_only_headers response_headers_to_add \
             response_headers_to_remove request_headers_to_add request_headers_to_remove \
             most_specific_header_mutations_wins validate_clusters? \
             max_direct_response_body_size_bytes? cluster_specifier_plugins request_mirror_policies \
             ignore_port_in_host_matching vhost_header ignore_path_parameters_in_path_matching \
             typed_per_filter_config metadata? route_specifiers",
};
pub(crate) const VIRTUAL_HOST: Schema = Schema {
    name: "config.route.v3.VirtualHost",
    fields: "name domains routes matcher? require_tls=NONE virtual_clusters rate_limits \
             request_headers_to_add request_headers_to_remove response_headers_to_add \
             response_headers_to_remove cors? typed_per_filter_config include_request_attempt_count \
             include_attempt_count_in_response retry_policy? retry_policy_typed_config? hedge_policy? \
             include_is_timeout_retry_header per_request_buffer_limit_bytes? \
             request_body_buffer_limit? request_mirror_policies metadata? route_specifiers",
};
pub(crate) const ROUTE: Schema = Schema {
    name: "config.route.v3.Route",
    fields: "name match? route? redirect? direct_response? filter_action? non_forwarding_action? \
             metadata? decorator? typed_per_filter_config request_headers_to_add \
             request_headers_to_remove response_headers_to_add response_headers_to_remove tracing? \
             per_request_buffer_limit_bytes? stat_prefix request_body_buffer_limit? route_specifiers",
};
pub(crate) const ROUTE_MATCH: Schema = Schema {
    name: "config.route.v3.RouteMatch",
    fields: "prefix? path? safe_regex? connect_matcher? path_separated_prefix? path_match_policy? \
             case_sensitive? runtime_fraction? headers query_parameters cookies grpc? tls_context? \
             dynamic_metadata filter_state",
};
pub(crate) const HEADER_MATCHER: Schema = Schema {
    name: "config.route.v3.HeaderMatcher",
    fields: "name exact_match? safe_regex_match? range_match? present_match? prefix_match? \
             suffix_match? contains_match? string_match? invert_match treat_missing_header_as_empty",
};
pub(crate) const QUERY_MATCHER: Schema = Schema {
    name: "config.route.v3.QueryParameterMatcher",
    fields: "name string_match? present_match?",
};
pub(crate) const ROUTE_ACTION: Schema = Schema {
    name: "config.route.v3.RouteAction",
    fields: "cluster? cluster_header? weighted_clusters? cluster_specifier_plugin? \
             inline_cluster_specifier_plugin? cluster_not_found_response_code=SERVICE_UNAVAILABLE \
             metadata_match? prefix_rewrite regex_rewrite? path_rewrite_policy? path_rewrite \
             host_rewrite_literal? auto_host_rewrite? host_rewrite_header? host_rewrite_path_regex? \
             host_rewrite? append_x_forwarded_host timeout? idle_timeout? flush_timeout? \
             early_data_policy? retry_policy? retry_policy_typed_config? request_mirror_policies \
             priority=DEFAULT rate_limits include_vh_rate_limits? hash_policy cors? max_grpc_timeout? \
             grpc_timeout_offset? upgrade_configs internal_redirect_policy? \
             internal_redirect_action=PASS_THROUGH_INTERNAL_REDIRECT max_internal_redirects? \
             hedge_policy? max_stream_duration?",
};
pub(crate) const REDIRECT: Schema = Schema {
    name: "config.route.v3.RedirectAction",
    fields: "https_redirect? scheme_redirect? host_redirect port_redirect path_redirect? \
             prefix_rewrite? regex_rewrite? path_rewrite? response_code=MOVED_PERMANENTLY strip_query",
};
pub(crate) const DIRECT_RESPONSE: Schema =
    Schema { name: "config.route.v3.DirectResponseAction", fields: "status body? body_format?" };
pub(crate) const WEIGHTED_CLUSTERS: Schema = Schema {
    name: "config.route.v3.WeightedCluster",
    fields: "clusters total_weight? runtime_key_prefix header_name? use_hash_policy?",
};
pub(crate) const CLUSTER_WEIGHT: Schema = Schema {
    name: "config.route.v3.WeightedCluster.ClusterWeight",
    fields: "name cluster_header weight? metadata_match? request_headers_to_add \
             request_headers_to_remove response_headers_to_add response_headers_to_remove \
             typed_per_filter_config host_rewrite_literal?",
};
pub(crate) const MIRROR: Schema = Schema {
    name: "config.route.v3.RouteAction.RequestMirrorPolicy",
    fields: "cluster cluster_header runtime_fraction? trace_sampled? \
             disable_shadow_host_suffix_append request_headers_mutations host_rewrite_literal",
};
pub(crate) const HASH_POLICY: Schema = Schema {
    name: "config.route.v3.RouteAction.HashPolicy",
    fields: "header? cookie? connection_properties? query_parameter? filter_state? terminal",
};
pub(crate) const HASH_HEADER: Schema = Schema {
    name: "config.route.v3.RouteAction.HashPolicy.Header",
    fields: "header_name regex_rewrite?",
};
pub(crate) const HASH_COOKIE: Schema = Schema {
    name: "config.route.v3.RouteAction.HashPolicy.Cookie",
    fields: "name ttl? path attributes",
};
pub(crate) const HASH_CONNECTION: Schema = Schema {
    name: "config.route.v3.RouteAction.HashPolicy.ConnectionProperties",
    fields: "source_ip",
};
pub(crate) const HASH_QUERY: Schema =
    Schema { name: "config.route.v3.RouteAction.HashPolicy.QueryParameter", fields: "name" };
pub(crate) const ROUTE_UPGRADE: Schema = Schema {
    name: "config.route.v3.RouteAction.UpgradeConfig",
    fields: "upgrade_type enabled? connect_config?",
};
pub(crate) const MAX_STREAM_DURATION: Schema = Schema {
    name: "config.route.v3.RouteAction.MaxStreamDuration",
    fields: "max_stream_duration? grpc_timeout_header_max? grpc_timeout_header_offset?",
};
pub(crate) const RETRY_POLICY: Schema = Schema {
    name: "config.route.v3.RetryPolicy",
    fields: "retry_on num_retries? per_try_timeout? per_try_idle_timeout? retry_priority? \
             retry_host_predicate retry_options_predicates host_selection_retry_max_attempts \
             retriable_status_codes retry_back_off? rate_limited_retry_back_off? retriable_headers \
             retriable_request_headers refresh_cluster_on_retry",
};
pub(crate) const RETRY_HOST_PREDICATE: Schema =
    Schema { name: "config.route.v3.RetryPolicy.RetryHostPredicate", fields: "name typed_config?" };
pub(crate) const RETRY_BACK_OFF: Schema = Schema {
    name: "config.route.v3.RetryPolicy.RetryBackOff",
    fields: "base_interval? max_interval?",
};
pub(crate) const RATE_LIMITED_BACK_OFF: Schema = Schema {
    name: "config.route.v3.RetryPolicy.RateLimitedRetryBackOff",
    fields: "reset_headers max_interval?",
};
pub(crate) const RESET_HEADER: Schema =
    Schema { name: "config.route.v3.RetryPolicy.ResetHeader", fields: "name format=SECONDS" };
pub(crate) const HEDGE_POLICY: Schema = Schema {
    name: "config.route.v3.HedgePolicy",
    fields: "initial_requests? additional_request_chance? hedge_on_per_try_timeout",
};
pub(crate) const CORS_POLICY: Schema = Schema {
    name: "extensions.filters.http.cors.v3.CorsPolicy",
    fields: "allow_origin_string_match allow_methods allow_headers expose_headers max_age \
             allow_credentials? filter_enabled? shadow_enabled? allow_private_network_access? \
             forward_not_matching_preflights?",
};
pub(crate) const FILTER_CONFIG: Schema =
    Schema { name: "config.route.v3.FilterConfig", fields: "config? is_optional disabled" };
pub(crate) const STRING_MATCHER: Schema = Schema {
    name: "type.matcher.v3.StringMatcher",
    fields: "exact? prefix? suffix? safe_regex? contains? custom? ignore_case",
};
pub(crate) const REGEX_MATCHER: Schema =
    Schema { name: "type.matcher.v3.RegexMatcher", fields: "google_re2? regex" };
pub(crate) const REGEX_SUBSTITUTE: Schema =
    Schema { name: "type.matcher.v3.RegexMatchAndSubstitute", fields: "pattern? substitution" };
pub(crate) const FRACTION: Schema =
    Schema { name: "type.v3.FractionalPercent", fields: "numerator denominator=HUNDRED" };
pub(crate) const PERCENT: Schema = Schema { name: "type.v3.Percent", fields: "value" };
pub(crate) const INT64_RANGE: Schema = Schema { name: "type.v3.Int64Range", fields: "start end" };
pub(crate) const HTTP_STATUS: Schema = Schema { name: "type.v3.HttpStatus", fields: "code=Empty" };
pub(crate) const TOKEN_BUCKET: Schema =
    Schema { name: "type.v3.TokenBucket", fields: "max_tokens tokens_per_fill? fill_interval?" };
pub(crate) const COOKIE: Schema =
    Schema { name: "type.http.v3.Cookie", fields: "name ttl? path attributes" };
pub(crate) const URI_TEMPLATE_MATCH: Schema = Schema {
    name: "extensions.path.match.uri_template.v3.UriTemplateMatchConfig",
    fields: "path_template",
};
pub(crate) const URI_TEMPLATE_REWRITE: Schema = Schema {
    name: "extensions.path.rewrite.uri_template.v3.UriTemplateRewriteConfig",
    fields: "path_template_rewrite",
};
pub(crate) const ROUTER: Schema = Schema {
    name: "extensions.filters.http.router.v3.Router",
    fields: "dynamic_stats? start_child_span upstream_log upstream_log_options? \
             suppress_envoy_headers strict_check_headers respect_expected_rq_timeout \
             suppress_grpc_request_failure_code_stats upstream_http_filters \
             reject_connect_request_early_data?",
};
pub(crate) const CORS: Schema = Schema { name: "extensions.filters.http.cors.v3.Cors", fields: "" };
pub(crate) const FAULT: Schema = Schema {
    name: "extensions.filters.http.fault.v3.HTTPFault",
    fields: "delay? abort? upstream_cluster headers downstream_nodes max_active_faults? \
             response_rate_limit? delay_percent_runtime abort_percent_runtime delay_duration_runtime \
             abort_http_status_runtime max_active_faults_runtime response_rate_limit_percent_runtime \
             abort_grpc_status_runtime disable_downstream_cluster_stats filter_metadata?",
};
pub(crate) const FAULT_ABORT: Schema = Schema {
    name: "extensions.filters.http.fault.v3.FaultAbort",
    fields: "http_status? grpc_status? header_abort? percentage? response_body",
};
pub(crate) const FAULT_DELAY: Schema = Schema {
    name: "extensions.filters.common.fault.v3.FaultDelay",
    fields: "fixed_delay? header_delay? percentage?",
};
pub(crate) const LOCAL_RATE_LIMIT: Schema = Schema {
    name: "extensions.filters.http.local_ratelimit.v3.LocalRateLimit",
    fields: "stat_prefix status? token_bucket? filter_enabled? filter_enforced? \
             request_headers_to_add_when_not_enforced response_headers_to_add descriptors stage \
             local_rate_limit_per_downstream_connection local_cluster_rate_limit? \
             enable_x_ratelimit_headers=OFF vh_rate_limits=OVERRIDE \
             always_consume_default_token_bucket? rate_limited_as_resource_exhausted rate_limits \
             max_dynamic_descriptors? enable_retry_after_header",
};
pub(crate) const COMPRESSOR: Schema = Schema {
    name: "extensions.filters.http.compressor.v3.Compressor",
    fields: "content_length? content_type disable_on_etag_header remove_accept_encoding_header \
             runtime_enabled? compressor_library? request_direction_config? \
             response_direction_config? choose_first",
};
pub(crate) const COMPRESSOR_COMMON: Schema = Schema {
    name: "extensions.filters.http.compressor.v3.Compressor.CommonDirectionConfig",
    fields: "enabled? min_content_length? content_type content_type_matcher",
};
pub(crate) const COMPRESSOR_RESPONSE: Schema = Schema {
    name: "extensions.filters.http.compressor.v3.Compressor.ResponseDirectionConfig",
    fields: "common_config? disable_on_etag_header weaken_etag_on_compress \
             remove_accept_encoding_header uncompressible_response_codes status_header_enabled",
};
pub(crate) const COMPRESSOR_PER_ROUTE: Schema = Schema {
    name: "extensions.filters.http.compressor.v3.CompressorPerRoute",
    fields: "disabled? overrides?",
};
pub(crate) const GZIP: Schema = Schema {
    name: "extensions.compression.gzip.compressor.v3.Gzip",
    fields: "memory_level? compression_level=DEFAULT_COMPRESSION \
             compression_strategy=DEFAULT_STRATEGY window_bits? chunk_size?",
};
pub(crate) const BROTLI: Schema = Schema {
    name: "extensions.compression.brotli.compressor.v3.Brotli",
    fields: "quality? encoder_mode=DEFAULT window_bits? input_block_bits? chunk_size? \
             disable_literal_context_modeling",
};
pub(crate) const ADAPTIVE_CONCURRENCY: Schema = Schema {
    name: "extensions.filters.http.adaptive_concurrency.v3.AdaptiveConcurrency",
    fields: "gradient_controller_config? enabled? concurrency_limit_exceeded_status?",
};
pub(crate) const GRADIENT: Schema = Schema {
    name: "extensions.filters.http.adaptive_concurrency.v3.GradientControllerConfig",
    fields: "sample_aggregate_percentile? concurrency_limit_params? min_rtt_calc_params?",
};
pub(crate) const GRADIENT_LIMIT: Schema = Schema {
    name: "extensions.filters.http.adaptive_concurrency.v3.GradientControllerConfig.ConcurrencyLimitCalculationParams",
    fields: "max_concurrency_limit? concurrency_update_interval? min_concurrency_limit?",
};
pub(crate) const GRADIENT_MIN_RTT: Schema = Schema {
    name: "extensions.filters.http.adaptive_concurrency.v3.GradientControllerConfig.MinimumRTTCalculationParams",
    fields: "interval? fixed_value? request_count? jitter? min_concurrency? buffer?",
};
pub(crate) const STATEFUL_SESSION: Schema = Schema {
    name: "extensions.filters.http.stateful_session.v3.StatefulSession",
    fields: "session_state? strict stat_prefix status_on_strict_destination_not_found",
};
pub(crate) const STATEFUL_SESSION_PER_ROUTE: Schema = Schema {
    name: "extensions.filters.http.stateful_session.v3.StatefulSessionPerRoute",
    fields: "disabled? stateful_session?",
};
pub(crate) const COOKIE_SESSION: Schema = Schema {
    name: "extensions.http.stateful_session.cookie.v3.CookieBasedSessionState",
    fields: "cookie?",
};
pub(crate) const BUFFER: Schema =
    Schema { name: "extensions.filters.http.buffer.v3.Buffer", fields: "max_request_bytes?" };
pub(crate) const BUFFER_PER_ROUTE: Schema = Schema {
    name: "extensions.filters.http.buffer.v3.BufferPerRoute",
    fields: "disabled? buffer?",
};
pub(crate) const UUID_REQUEST_ID: Schema = Schema {
    name: "extensions.request_id.uuid.v3.UuidRequestIdConfig",
    fields: "pack_trace_reason? use_request_id_for_trace_sampling?",
};
pub(crate) const REQUEST_ID_EXTENSION: Schema = Schema {
    name: "extensions.filters.network.http_connection_manager.v3.RequestIDExtension",
    fields: "typed_config?",
};
pub(crate) const DOWNSTREAM_TLS: Schema = Schema {
    name: "extensions.transport_sockets.tls.v3.DownstreamTlsContext",
    fields: "common_tls_context? require_client_certificate? require_sni? session_ticket_keys? \
             session_ticket_keys_sds_secret_config? disable_stateless_session_resumption? \
             disable_stateful_session_resumption session_timeout? ocsp_staple_policy=LENIENT_STAPLING \
             full_scan_certs_on_sni_mismatch? prefer_client_ciphers",
};
pub(crate) const UPSTREAM_TLS: Schema = Schema {
    name: "extensions.transport_sockets.tls.v3.UpstreamTlsContext",
    fields: "common_tls_context? sni auto_host_sni auto_sni_san_validation allow_renegotiation \
             max_session_keys? enforce_rsa_key_usage?",
};
pub(crate) const COMMON_TLS: Schema = Schema {
    name: "extensions.transport_sockets.tls.v3.CommonTlsContext",
    fields: "tls_params? tls_certificates tls_certificate_sds_secret_configs \
             tls_certificate_provider_instance? custom_tls_certificate_selector? \
             tls_certificate_certificate_provider? tls_certificate_certificate_provider_instance? \
             validation_context? validation_context_sds_secret_config? combined_validation_context? \
             validation_context_certificate_provider? \
             validation_context_certificate_provider_instance? alpn_protocols custom_handshaker? \
             key_log?",
};
pub(crate) const TLS_PARAMETERS: Schema = Schema {
    name: "extensions.transport_sockets.tls.v3.TlsParameters",
    fields: "tls_minimum_protocol_version=TLS_AUTO tls_maximum_protocol_version=TLS_AUTO \
             cipher_suites ecdh_curves signature_algorithms compliance_policies",
};
pub(crate) const TLS_CERTIFICATE: Schema = Schema {
    name: "extensions.transport_sockets.tls.v3.TlsCertificate",
    fields: "certificate_chain? private_key? pkcs12? watched_directory? private_key_provider? \
             password? ocsp_staple? signed_certificate_timestamp tls_params?",
};
pub(crate) const VALIDATION_CONTEXT: Schema = Schema {
    name: "extensions.transport_sockets.tls.v3.CertificateValidationContext",
    fields: "trusted_ca? ca_certificate_provider_instance? system_root_certs? watched_directory? \
             verify_certificate_spki verify_certificate_hash match_typed_subject_alt_names \
             match_subject_alt_names require_signed_certificate_timestamp? crl? \
             allow_expired_certificate trust_chain_verification=VERIFY_TRUST_CHAIN \
             custom_validator_config? only_verify_leaf_cert_crl max_verify_depth? \
             suppress_client_ca_list",
};
pub(crate) const COMBINED_VALIDATION: Schema = Schema {
    name: "extensions.transport_sockets.tls.v3.CommonTlsContext.CombinedCertificateValidationContext",
    fields: "default_validation_context? validation_context_sds_secret_config? \
             validation_context_certificate_provider? \
             validation_context_certificate_provider_instance?",
};
pub(crate) const SAN_MATCHER: Schema = Schema {
    name: "extensions.transport_sockets.tls.v3.SubjectAltNameMatcher",
    fields: "san_type=SAN_TYPE_UNSPECIFIED matcher? oid",
};
pub(crate) const SDS_SECRET_CONFIG: Schema = Schema {
    name: "extensions.transport_sockets.tls.v3.SdsSecretConfig",
    fields: "name sds_config?",
};
pub(crate) const SECRET: Schema = Schema {
    name: "extensions.transport_sockets.tls.v3.Secret",
    fields: "name tls_certificate? session_ticket_keys? validation_context? generic_secret?",
};
pub(crate) const PROXY_PROTOCOL_TRANSPORT: Schema = Schema {
    name: "extensions.transport_sockets.proxy_protocol.v3.ProxyProtocolUpstreamTransport",
    fields: "config? transport_socket? allow_unspecified_address tlv_as_pool_key",
};
pub(crate) const CLUSTER: Schema = Schema {
    name: "config.cluster.v3.Cluster",
    fields: "transport_socket_matches transport_socket_matcher? name alt_stat_name stats_matcher? \
             type=STATIC cluster_type? eds_cluster_config? connect_timeout? \
             per_connection_buffer_limit_bytes? per_connection_buffer_high_watermark_timeout? \
             lb_policy=ROUND_ROBIN load_assignment? health_checks max_requests_per_connection? \
             circuit_breakers? upstream_http_protocol_options? common_http_protocol_options? \
             http_protocol_options? http2_protocol_options? typed_extension_protocol_options \
             dns_refresh_rate? dns_jitter? dns_failure_refresh_rate? respect_dns_ttl \
             dns_lookup_family=AUTO dns_resolvers use_tcp_for_dns_lookups dns_resolution_config? \
             typed_dns_resolver_config? wait_for_warm_on_init? outlier_detection? cleanup_interval? \
             upstream_bind_config? lb_subset_config? ring_hash_lb_config? maglev_lb_config? \
             original_dst_lb_config? least_request_lb_config? round_robin_lb_config? \
             common_lb_config? transport_socket? metadata? protocol_selection=USE_CONFIGURED_PROTOCOL \
             upstream_connection_options? close_connections_on_host_health_failure \
             ignore_health_on_host_removal filters load_balancing_policy? lrs_server? \
             lrs_report_endpoint_metrics track_timeout_budgets upstream_config? track_cluster_stats? \
             preconnect_policy? connection_pool_per_downstream_connection queuing_policies?",
};
pub(crate) const COMMON_LB: Schema = Schema {
    name: "config.cluster.v3.Cluster.CommonLbConfig",
    fields: "healthy_panic_threshold? zone_aware_lb_config? locality_weighted_lb_config? \
             update_merge_window? ignore_new_hosts_until_first_hc \
             close_connections_on_host_set_change consistent_hashing_lb_config? override_host_status?",
};
pub(crate) const LB_CONSISTENT: Schema = Schema {
    name: "config.cluster.v3.Cluster.CommonLbConfig.ConsistentHashingLbConfig",
    fields: "use_hostname_for_hashing hash_balance_factor?",
};
pub(crate) const LB_ZONE_AWARE: Schema = Schema {
    name: "config.cluster.v3.Cluster.CommonLbConfig.ZoneAwareLbConfig",
    fields: "routing_enabled? min_cluster_size? fail_traffic_on_panic",
};
pub(crate) const LB_SUBSET: Schema = Schema {
    name: "config.cluster.v3.Cluster.LbSubsetConfig",
    fields: "fallback_policy=NO_FALLBACK default_subset? subset_selectors locality_weight_aware \
             scale_locality_weight panic_mode_any list_as_any \
             metadata_fallback_policy=METADATA_NO_FALLBACK",
};
pub(crate) const LB_SUBSET_SELECTOR: Schema = Schema {
    name: "config.cluster.v3.Cluster.LbSubsetConfig.LbSubsetSelector",
    fields: "keys single_host_per_subset fallback_policy=NOT_DEFINED fallback_keys_subset",
};
pub(crate) const LB_LEAST_REQUEST: Schema = Schema {
    name: "config.cluster.v3.Cluster.LeastRequestLbConfig",
    fields: "choice_count? active_request_bias? slow_start_config?",
};
pub(crate) const LB_ROUND_ROBIN: Schema =
    Schema { name: "config.cluster.v3.Cluster.RoundRobinLbConfig", fields: "slow_start_config?" };
pub(crate) const LB_RING_HASH: Schema = Schema {
    name: "config.cluster.v3.Cluster.RingHashLbConfig",
    fields: "minimum_ring_size? hash_function=XX_HASH maximum_ring_size?",
};
pub(crate) const LB_MAGLEV: Schema =
    Schema { name: "config.cluster.v3.Cluster.MaglevLbConfig", fields: "table_size?" };
pub(crate) const LB_SLOW_START: Schema = Schema {
    name: "config.cluster.v3.Cluster.SlowStartConfig",
    fields: "slow_start_window? aggression? min_weight_percent?",
};
pub(crate) const LB_POLICIES: Schema =
    Schema { name: "config.cluster.v3.LoadBalancingPolicy", fields: "policies" };
pub(crate) const LB_POLICY: Schema = Schema {
    name: "config.cluster.v3.LoadBalancingPolicy.Policy",
    fields: "typed_extension_config?",
};
pub(crate) const POLICY_ROUND_ROBIN: Schema = Schema {
    name: "extensions.load_balancing_policies.round_robin.v3.RoundRobin",
    fields: "slow_start_config? locality_lb_config?",
};
pub(crate) const POLICY_LEAST_REQUEST: Schema = Schema {
    name: "extensions.load_balancing_policies.least_request.v3.LeastRequest",
    fields: "choice_count? active_request_bias? slow_start_config? locality_lb_config? \
             enable_full_scan? selection_method=N_CHOICES",
};
pub(crate) const POLICY_RANDOM: Schema = Schema {
    name: "extensions.load_balancing_policies.random.v3.Random",
    fields: "locality_lb_config?",
};
pub(crate) const POLICY_RING_HASH: Schema = Schema {
    name: "extensions.load_balancing_policies.ring_hash.v3.RingHash",
    fields: "hash_function=DEFAULT_HASH minimum_ring_size? maximum_ring_size? \
             use_hostname_for_hashing hash_balance_factor? consistent_hashing_lb_config? \
             locality_weighted_lb_config?",
};
pub(crate) const POLICY_MAGLEV: Schema = Schema {
    name: "extensions.load_balancing_policies.maglev.v3.Maglev",
    fields: "table_size? consistent_hashing_lb_config? locality_weighted_lb_config?",
};
pub(crate) const POLICY_SUBSET: Schema = Schema {
    name: "extensions.load_balancing_policies.subset.v3.Subset",
    fields: "fallback_policy=NO_FALLBACK default_subset? subset_selectors allow_redundant_keys \
             locality_weight_aware scale_locality_weight panic_mode_any list_as_any \
             metadata_fallback_policy=METADATA_NO_FALLBACK subset_lb_policy?",
};
pub(crate) const POLICY_SUBSET_SELECTOR: Schema = Schema {
    name: "extensions.load_balancing_policies.subset.v3.Subset.LbSubsetSelector",
    fields: "keys single_host_per_subset fallback_policy=NOT_DEFINED fallback_keys_subset",
};
pub(crate) const POLICY_WRR_LOCALITY: Schema = Schema {
    name: "extensions.load_balancing_policies.wrr_locality.v3.WrrLocality",
    fields: "endpoint_picking_policy?",
};
pub(crate) const POLICY_LOCALITY: Schema = Schema {
    name: "extensions.load_balancing_policies.common.v3.LocalityLbConfig",
    fields: "zone_aware_lb_config? locality_weighted_lb_config?",
};
pub(crate) const POLICY_ZONE_AWARE: Schema = Schema {
    name: "extensions.load_balancing_policies.common.v3.LocalityLbConfig.ZoneAwareLbConfig",
    fields: "routing_enabled? min_cluster_size? fail_traffic_on_panic force_locality_direct_routing \
             force_local_zone? locality_basis=HEALTHY_HOSTS_NUM",
};
pub(crate) const POLICY_FORCE_LOCAL: Schema = Schema {
    name: "extensions.load_balancing_policies.common.v3.LocalityLbConfig.ZoneAwareLbConfig.ForceLocalZone",
    fields: "min_size?",
};
pub(crate) const POLICY_CONSISTENT: Schema = Schema {
    name: "extensions.load_balancing_policies.common.v3.ConsistentHashingLbConfig",
    fields: "use_hostname_for_hashing hash_balance_factor? hash_policy",
};
pub(crate) const POLICY_SLOW_START: Schema = Schema {
    name: "extensions.load_balancing_policies.common.v3.SlowStartConfig",
    fields: "slow_start_window? aggression? min_weight_percent?",
};
pub(crate) const RUNTIME_DOUBLE: Schema =
    Schema { name: "config.core.v3.RuntimeDouble", fields: "default_value runtime_key" };
pub(crate) const CIRCUIT_BREAKERS: Schema =
    Schema { name: "config.cluster.v3.CircuitBreakers", fields: "thresholds per_host_thresholds" };
pub(crate) const THRESHOLDS: Schema = Schema {
    name: "config.cluster.v3.CircuitBreakers.Thresholds",
    fields: "priority=DEFAULT max_connections? max_pending_requests? max_requests? max_retries? \
             retry_budget? track_remaining max_connection_pools?",
};
pub(crate) const BUDGET: Schema = Schema {
    name: "config.cluster.v3.CircuitBreakers.Thresholds.RetryBudget",
    fields: "budget_percent? budget_interval? min_retry_concurrency?",
};
pub(crate) const OUTLIER_DETECTION: Schema = Schema {
    name: "config.cluster.v3.OutlierDetection",
    fields: "consecutive_5xx? interval? base_ejection_time? max_ejection_percent? \
             enforcing_consecutive_5xx? enforcing_success_rate? success_rate_minimum_hosts? \
             success_rate_request_volume? success_rate_stdev_factor? consecutive_gateway_failure? \
             enforcing_consecutive_gateway_failure? split_external_local_origin_errors \
             consecutive_local_origin_failure? enforcing_consecutive_local_origin_failure? \
             enforcing_local_origin_success_rate? failure_percentage_threshold? \
             enforcing_failure_percentage? enforcing_failure_percentage_local_origin? \
             failure_percentage_minimum_hosts? failure_percentage_request_volume? max_ejection_time? \
             max_ejection_time_jitter? successful_active_health_check_uneject_host? monitors \
             always_eject_one_host? detect_degraded_hosts?",
};
pub(crate) const UPSTREAM_OPTIONS: Schema = Schema {
    name: "extensions.upstreams.http.v3.HttpProtocolOptions",
    fields: "common_http_protocol_options? upstream_http_protocol_options? explicit_http_config? \
             use_downstream_protocol_config? auto_config? http_filters header_validation_config? \
             outlier_detection? request_mirror_policies hash_policy retry_policy?",
};
pub(crate) const EXPLICIT_HTTP: Schema = Schema {
    name: "extensions.upstreams.http.v3.HttpProtocolOptions.ExplicitHttpConfig",
    fields: "http_protocol_options? http2_protocol_options? http3_protocol_options?",
};
pub(crate) const DOWNSTREAM_HTTP: Schema = Schema {
    name: "extensions.upstreams.http.v3.HttpProtocolOptions.UseDownstreamHttpConfig",
    fields: "http_protocol_options? http2_protocol_options? http3_protocol_options?",
};
pub(crate) const AUTO_HTTP: Schema = Schema {
    name: "extensions.upstreams.http.v3.HttpProtocolOptions.AutoHttpConfig",
    fields: "http_protocol_options? http2_protocol_options? http3_protocol_options? \
             alternate_protocols_cache_options?",
};
pub(crate) const LOAD_ASSIGNMENT: Schema = Schema {
    name: "config.endpoint.v3.ClusterLoadAssignment",
    fields: "cluster_name endpoints named_endpoints policy?",
};
pub(crate) const ASSIGNMENT_POLICY: Schema = Schema {
    name: "config.endpoint.v3.ClusterLoadAssignment.Policy",
    fields: "drop_overloads overprovisioning_factor? endpoint_stale_after? weighted_priority_health \
             drop_overloads overprovisioning_factor? endpoint_stale_after? weighted_priority_health",
};
pub(crate) const LOCALITY_ENDPOINTS: Schema = Schema {
    name: "config.endpoint.v3.LocalityLbEndpoints",
    fields: "locality? metadata? lb_endpoints load_balancer_endpoints? leds_cluster_locality_config? \
             load_balancing_weight? priority proximity?",
};
pub(crate) const LB_ENDPOINT: Schema = Schema {
    name: "config.endpoint.v3.LbEndpoint",
    fields: "endpoint? endpoint_name? health_status=UNKNOWN metadata? load_balancing_weight?",
};
pub(crate) const ENDPOINT: Schema = Schema {
    name: "config.endpoint.v3.Endpoint",
    fields: "address? health_check_config? hostname additional_addresses observability_name",
};
pub(crate) const ENDPOINT_HEALTH: Schema = Schema {
    name: "config.endpoint.v3.Endpoint.HealthCheckConfig",
    fields: "port_value hostname address? disable_active_health_check",
};
pub(crate) const EMPTY: Schema = Schema { name: "empty", fields: "" };
/// Of Envoy's contributed extensions, which its usual builds leave out.
pub(crate) const POLICY_PEAK_EWMA: Schema = Schema {
    name: "extensions.load_balancing_policies.peak_ewma.v3alpha.PeakEwma",
    fields: "decay_time? aggregation_interval? max_samples_per_host? default_rtt? penalty_value?",
};

pub(crate) const CLUSTER_TYPE: Schema =
    Schema { name: "config.cluster.v3.Cluster.CustomClusterType", fields: "name typed_config?" };
pub(crate) const DNS_CLUSTER: Schema = Schema {
    name: "extensions.clusters.dns.v3.DnsCluster",
    fields: "dns_refresh_rate? dns_failure_refresh_rate? respect_dns_ttl dns_jitter? \
             typed_dns_resolver_config? dns_lookup_family=UNSPECIFIED \
             all_addresses_in_single_endpoint dns_min_refresh_rate?",
};
