"""The pages of the dashboard, declared: which columns of which marts each tile shows."""

from __future__ import annotations

from serving.dashboard.tiles import CLIENT, How, Kind, Measure, Page, Shown, Tile

_ONE, _ALL = Shown.ONE_CLIENT, Shown.ALL_CLIENTS
_COST = {"lower_is_better": True}

VISITORS = Measure("unique_visitors", How.DAILY_MEAN, label="Visitors a day")
BOUNCE_RATE = Measure(
    "bounces", How.RATIO, ("sessions",), "Bounce rate", "percent", lower_is_better=True
)
SESSION_SECONDS = Measure("avg_session_seconds", How.WEIGHTED, ("sessions",))
CONVERSION_RATE = Measure("conversions", How.RATIO, ("sessions",), "Conversion rate", "percent")
API_ERROR_RATE = Measure(
    "error_calls", How.RATIO, ("total_calls",), "API error rate", "percent", lower_is_better=True
)
AI_ERROR_RATE = Measure(
    "error_count", How.RATIO, ("total_messages",), "Error rate", "percent", lower_is_better=True
)
AI_SHARE = Measure(
    "ai_responses", How.RATIO, ("ai_responses", "human_responses"), "Answered by AI", "percent",
    lower_is_better=None,
)  # fmt: skip
AI_COST = Measure("cost_total", label="AI cost", lower_is_better=True)
MRR = Measure("mrr_cents", How.LAST)
# In plain words, where the mart's description names events.
_NEW_LEADS = "Leads that came on these days, each counted once: when it first came."
_JOBS = "Won on these days, whenever the leads came."


def _figure(id: str, mart: str, measure: Measure, title: str = "", **more: object) -> Tile:
    return Tile(id=id, kind=Kind.FIGURE, title=title, mart=mart, measures=(measure,), **more)  # type: ignore[arg-type]


OVERVIEW = Page(
    name="overview",
    title="Overview",
    about="The period against the one before, over complete days.",
    filters=(CLIENT,),
    tiles=(
        _figure("visitors", "stats_daily", VISITORS),
        _figure("leads", "platform_analytics", Measure("total_leads"), shown=_ALL, note=_NEW_LEADS),
        _figure(
            "client-leads", "analytics_daily", Measure("new_leads"), shown=_ONE, note=_NEW_LEADS
        ),
        _figure("revenue", "revenue_daily", Measure("total_revenue_usd"), shown=_ALL),
        _figure(
            "client-revenue", "analytics_daily", Measure("revenue_attributed_cents"), shown=_ONE
        ),
        _figure("mrr", "platform_analytics", MRR, shown=_ALL),
        _figure("jobs", "analytics_daily", Measure("jobs_won"), shown=_ONE, note=_JOBS),
        _figure("ai-cost", "system_daily_metrics", AI_COST, shown=_ALL),
        _figure("ai-share", "analytics_daily", AI_SHARE, shown=_ONE),
        _figure("error-rate", "api_performance_daily", API_ERROR_RATE, shown=_ALL),
        _figure(
            "escalations",
            "analytics_daily",
            Measure("escalations", lower_is_better=True),
            shown=_ONE,
        ),
        Tile(
            id="changes",
            kind=Kind.CHANGES,
            title="What changed most",
            mart="platform_analytics",
            measures=(
                Measure("new_clients"),
                Measure("churned_clients", **_COST),
                Measure("new_mrr_cents"),
                Measure("expansion_mrr_cents"),
                Measure("contraction_mrr_cents", **_COST),
                Measure("churned_mrr_cents", **_COST),
                Measure("total_leads"),
                Measure("total_messages"),
                Measure("total_ai_responses", lower_is_better=None),
                Measure("total_escalations", **_COST),
                Measure("total_api_costs_cents", **_COST),
            ),
            shown=_ALL,
        ),
        Tile(
            id="client-changes",
            kind=Kind.CHANGES,
            title="What changed most",
            mart="analytics_daily",
            measures=(
                Measure("new_leads"),
                Measure("total_conversations"),
                Measure("appointments_booked"),
                Measure("quotes_sent"),
                Measure("jobs_won"),
                Measure("jobs_lost", **_COST),
                Measure("revenue_attributed_cents"),
                Measure("payments_collected_cents"),
                Measure("escalations", **_COST),
                Measure("reviews_received"),
            ),
            shown=_ONE,
        ),
        Tile(
            id="visits-by-day",
            kind=Kind.CHART,
            title="Visits by day",
            mart="stats_daily",
            measures=(Measure("unique_visitors"), Measure("sessions")),
        ),
        Tile(
            id="leads-by-day",
            kind=Kind.CHART,
            title="Leads by day",
            mart="platform_analytics",
            measures=(Measure("total_leads"),),
            shown=_ALL,
        ),
        Tile(
            id="client-leads-by-day",
            kind=Kind.CHART,
            title="Leads and jobs by day",
            mart="analytics_daily",
            measures=(Measure("new_leads"), Measure("appointments_booked"), Measure("jobs_won")),
            shown=_ONE,
        ),
        Tile(
            id="revenue-by-day",
            kind=Kind.CHART,
            title="Revenue by day",
            mart="revenue_daily",
            measures=(Measure("total_revenue_usd"),),
            shown=_ALL,
        ),
        Tile(
            id="client-revenue-by-day",
            kind=Kind.CHART,
            title="Revenue by day",
            mart="analytics_daily",
            measures=(Measure("revenue_attributed_cents"), Measure("payments_collected_cents")),
            shown=_ONE,
        ),
    ),
)

TRAFFIC = Page(
    name="traffic",
    title="Traffic",
    about="Who came to the sites, from where, and what they looked at. Bots are left out.",
    filters=(CLIENT, "source", "medium", "campaign", "path", "country"),
    tiles=(
        _figure("visitors", "stats_daily", VISITORS),
        _figure("sessions", "stats_daily", Measure("sessions")),
        _figure("page-views", "stats_daily", Measure("page_views")),
        _figure(
            "contacts",
            "stats_daily",
            Measure("contact_submissions"),
            note="Forms for getting in touch that were sent, bots left out.",
        ),
        _figure("bounce-rate", "stats_daily", BOUNCE_RATE),
        _figure(
            "duration",
            "stats_daily",
            SESSION_SECONDS,
            note="From daily means in whole seconds, weighted by sessions: about right.",
        ),
        Tile(
            id="traffic-by-day",
            kind=Kind.CHART,
            title="Traffic by day",
            mart="stats_daily",
            measures=(
                Measure("page_views"),
                Measure("sessions"),
                Measure("unique_visitors"),
            ),
            note="Visitors are counted once a day: their days do not add up to a month's.",
            is_wide=True,
        ),
        Tile(
            id="bounces-by-day",
            kind=Kind.CHART,
            title="Bounce rate by day",
            mart="stats_daily",
            measures=(BOUNCE_RATE,),
        ),
        Tile(
            id="visitor-funnel",
            kind=Kind.FUNNEL,
            title="Visitors' funnel",
            mart="visitor_funnel_monthly",
            by=("step",),
            measures=(Measure("visitors"),),
            order="step_order",
            note="A month's visitors: those who came, looked further, and got in touch.",
        ),
        Tile(
            id="sources",
            is_wide=True,
            kind=Kind.TABLE,
            title="Sources",
            mart="traffic_sources_daily",
            by=("source", "medium"),
            measures=(
                Measure("sessions"),
                Measure("page_views"),
                Measure("conversions"),
                CONVERSION_RATE,
            ),
            order="-sessions",
        ),
        Tile(
            id="campaigns",
            kind=Kind.TABLE,
            title="Campaigns",
            mart="traffic_sources_daily",
            by=("campaign", "source"),
            measures=(Measure("sessions"), Measure("conversions"), CONVERSION_RATE),
            order="-sessions",
            without=("campaign", "none"),
            note="Sessions that a campaign brought.",
        ),
        Tile(
            id="pages",
            kind=Kind.TABLE,
            title="Pages",
            mart="top_pages_daily",
            by=("path",),
            measures=(Measure("page_views"), Measure("entries"), Measure("exits")),
            order="-page_views",
        ),
        Tile(
            id="countries",
            kind=Kind.TABLE,
            title="Countries",
            mart="traffic_countries_daily",
            by=("country",),
            measures=(Measure("page_views"),),
            order="-page_views",
            note="none: without a country database, or an address that it does not know.",
        ),
    ),
)

STEPS = (
    "lead_created", "first_response", "qualified", "appointment_booked", "quote_sent", "job_won",
)  # fmt: skip
LEADS = Page(
    name="leads",
    title="Leads",
    about="How many leads came, how fast they were answered, and what became of them.",
    filters=(CLIENT, "source"),
    days=90,
    tiles=(
        _figure("leads", "analytics_daily", Measure("new_leads"), note=_NEW_LEADS),
        _figure(
            "appointments",
            "analytics_daily",
            Measure("appointments_booked"),
            note="Booked on these days, whenever the leads came.",
        ),
        _figure("jobs", "analytics_daily", Measure("jobs_won"), note=_JOBS),
        _figure("revenue", "analytics_daily", Measure("revenue_attributed_cents")),
        Tile(
            id="volumes",
            kind=Kind.FUNNEL,
            title="Funnel by volume",
            mart="conversion_funnel",
            by=("stage",),
            measures=(Measure("leads"),),
            order="stage_order",
            note="What happened in a month, whenever the leads came. Use it to see how much work "
            "each stage had. A stage may exceed the one before.",
        ),
        Tile(
            id="cohort",
            kind=Kind.FUNNEL,
            title="Funnel by cohort",
            mart="lead_cohort_funnel",
            by=("stage",),
            measures=(Measure("leads"),),
            order="stage_order",
            note="What became of the leads of a month within 90 days, in order. Use it to compare "
            "months: each lead has had the same time, once the month is mature.",
        ),
        Tile(
            id="ordered",
            kind=Kind.FUNNEL,
            title="Funnel in order",
            mart="lead_funnel",
            by=("furthest_step",),
            measures=(Measure("rows", How.ROWS, label="Leads"),),
            steps=STEPS,
            note="How far the leads of this range have come by now. Use it to see where leads are "
            "lost. Recent leads have had less time.",
        ),
        Tile(
            id="any-days",
            kind=Kind.FUNNEL,
            title="Volumes of exactly these days",
            mart="conversion_funnel",
            by=("stage",),
            measures=(Measure("leads"), Measure("value_cents")),
            path="/v1/funnel",
            note="As “Funnel by volume”, for the days of the range. A lead that came before, and "
            "came again, counts too.",
            shown=_ONE,
        ),
        Tile(
            id="leads-by-day",
            kind=Kind.CHART,
            title="Leads by day",
            mart="analytics_daily",
            measures=(Measure("new_leads"), Measure("appointments_booked"), Measure("jobs_won")),
        ),
        Tile(
            id="response-times",
            kind=Kind.TABLE,
            title="Response times",
            mart="response_time_distribution",
            by=("bucket",),
            measures=(Measure("responses"),),
            order="bucket_order",
            note="Messages that were answered, by how long that took. Unanswered ones are not in "
            "it.",
        ),
        Tile(
            id="response-by-week",
            kind=Kind.CHART,
            title="Mean response time by week",
            mart="analytics_weekly",
            measures=(Measure("avg_response_time_seconds", How.MAX, lower_is_better=True),),
            is_wide=True,
            shown=_ONE,
        ),
        Tile(
            id="sources",
            kind=Kind.TABLE,
            title="Sources of leads",
            mart="lead_sources",
            by=("source",),
            measures=(
                Measure("leads"),
                Measure("conversions"),
                Measure("conversions", How.RATIO, ("leads",), "Conversion rate", "percent"),
                Measure("revenue_cents"),
            ),
            order="-revenue_cents",
            note="Leads of these months, and what they have brought until now.",
            is_wide=True,
        ),
    ),
)

_NOT_SEEN = "0 % in months of which the warehouse has no events yet: not a loss."
RETENTION = Page(
    name="retention",
    title="Retention",
    about="Of those who came in a month, how many were still active in later months. All cohorts.",
    has_range=False,
    tiles=(
        Tile(
            id="clients",
            kind=Kind.TRIANGLE,
            title="Clients by month of arrival",
            note=_NOT_SEEN,
            mart="cohort_retention",
            by=("cohort_month", "month_number", "is_complete"),
            measures=(Measure("retention_rate"), Measure("cohort_size"), Measure("active")),
            fixed={"cohort_type": "client"},
            is_wide=True,
        ),
        Tile(
            id="users",
            kind=Kind.TRIANGLE,
            title="Users by month of arrival",
            note=_NOT_SEEN,
            mart="cohort_retention",
            by=("cohort_month", "month_number", "is_complete"),
            measures=(Measure("retention_rate"), Measure("cohort_size"), Measure("active")),
            fixed={"cohort_type": "user"},
            is_wide=True,
        ),
        Tile(
            id="client-cohorts",
            kind=Kind.ROWS,
            title="Each client's first year",
            mart="client_cohorts",
            by=(
                CLIENT,
                "cohort_month",
                "month_1_active",
                "month_3_active",
                "month_6_active",
                "month_12_active",
                "lifetime_revenue_cents",
            ),
            order="-cohort_month",
            limit=25,
            note="–: that month has not ended, and nothing has happened in it yet.",
            is_wide=True,
        ),
    ),
)

REVENUE = Page(
    name="revenue",
    title="Revenue",
    about="What the business earns: recurring revenue and how it moved, payments, margins.",
    filters=(CLIENT, "plan", "plan_type"),
    days=365,
    tiles=(
        _figure("mrr", "platform_analytics", MRR, shown=_ALL),
        _figure("payments", "revenue_daily", Measure("total_revenue_usd"), shown=_ALL),
        _figure("clients", "platform_analytics", Measure("active_clients", How.LAST), shown=_ALL),
        _figure(
            "churned-mrr", "platform_analytics", Measure("churned_mrr_cents", **_COST), shown=_ALL
        ),
        _figure(
            "client-revenue", "analytics_daily", Measure("revenue_attributed_cents"), shown=_ONE
        ),
        _figure(
            "client-payments", "analytics_daily", Measure("payments_collected_cents"), shown=_ONE
        ),
        _figure("client-invoices", "analytics_daily", Measure("invoices_sent_cents"), shown=_ONE),
        Tile(
            id="bridge",
            kind=Kind.BRIDGE,
            title="MRR bridge by month",
            mart="platform_analytics",
            measures=(
                MRR,
                Measure("new_mrr_cents"),
                Measure("reactivation_mrr_cents"),
                Measure("expansion_mrr_cents"),
                Measure("contraction_mrr_cents"),
                Measure("churned_mrr_cents"),
            ),
            note="MRR at a month's end is that of the month before, plus new, reactivation and "
            "expansion, less contraction and churn.",
            is_wide=True,
            shown=_ALL,
        ),
        Tile(
            id="mrr-by-plan",
            is_wide=True,
            kind=Kind.CHART,
            title="MRR by plan",
            mart="plan_adoption_daily",
            by=("plan",),
            measures=(MRR,),
            shown=_ALL,
        ),
        Tile(
            id="payments-by-plan",
            is_wide=True,
            kind=Kind.TABLE,
            title="Payments by plan",
            mart="revenue_daily",
            by=("plan_type",),
            measures=(
                Measure("total_revenue_usd"),
                Measure("subscriptions"),
                Measure("upgrades"),
                Measure("purchases"),
                Measure("refunds", **_COST),
            ),
            order="-total_revenue_usd",
            shown=_ALL,
        ),
        Tile(
            id="client-revenue-by-month",
            kind=Kind.CHART,
            title="Revenue, payments and open invoices by month",
            mart="analytics_monthly",
            measures=(
                Measure("revenue_attributed_cents"),
                Measure("payments_collected_cents"),
                Measure("outstanding_invoices_cents"),
            ),
            shown=_ONE,
            is_wide=True,
        ),
        Tile(
            id="client-value-by-month",
            kind=Kind.CHART,
            title="Mean value of a job by month",
            mart="analytics_monthly",
            measures=(Measure("avg_job_value_cents", How.MAX),),
            shown=_ONE,
        ),
        Tile(
            id="client-sources",
            kind=Kind.TABLE,
            title="Revenue by source of leads",
            mart="lead_sources",
            by=("source",),
            measures=(Measure("revenue_cents"), Measure("conversions")),
            order="-revenue_cents",
            note="By the month in which the lead came, and what it has brought until now.",
            shown=_ONE,
        ),
        Tile(
            id="unit-economics",
            is_for_analysts=True,
            kind=Kind.TABLE,
            title="Unit economics by client",
            mart="unit_economics_monthly",
            by=(CLIENT,),
            measures=(
                Measure("margin_cents"),
                MRR,
                Measure("revenue_attributed_cents"),
                Measure("ai_cost_usd", **_COST),
                Measure("api_cost_cents", **_COST),
                Measure("credits_cost_usd", **_COST),
            ),
            order="-margin_cents",
            note="Sums over these months; MRR is that of the last one.",
            is_wide=True,
        ),
        Tile(
            id="margin-by-month",
            is_for_analysts=True,
            kind=Kind.CHART,
            title="MRR and margin by month",
            mart="unit_economics_monthly",
            measures=(Measure("mrr_cents"), Measure("margin_cents")),
            is_wide=True,
        ),
    ),
)

AI_USAGE = Page(
    name="ai-usage",
    title="AI usage",
    about="What is asked of the AI, what it costs, how fast it answers, and who reaches a limit.",
    filters=(CLIENT, "user_id", "document_id"),
    tiles=(
        _figure("cost", "system_daily_metrics", AI_COST, shown=_ALL),
        _figure("messages", "system_daily_metrics", Measure("total_messages"), shown=_ALL),
        _figure("tokens", "system_daily_metrics", Measure("tokens_total"), shown=_ALL),
        _figure("errors", "system_daily_metrics", AI_ERROR_RATE, shown=_ALL),
        _figure("ai-share", "analytics_daily", AI_SHARE, shown=_ONE),
        _figure(
            "ai-answers",
            "analytics_daily",
            Measure("ai_responses", lower_is_better=None),
            shown=_ONE,
        ),
        _figure("escalations", "analytics_daily", Measure("escalations", **_COST), shown=_ONE),
        Tile(
            id="answers-by-day",
            kind=Kind.CHART,
            title="Who answered, by day",
            mart="analytics_daily",
            measures=(Measure("ai_responses"), Measure("human_responses")),
            shown=_ONE,
        ),
        Tile(
            id="cost-by-month",
            kind=Kind.CHART,
            title="AI cost by month",
            mart="unit_economics_monthly",
            measures=(Measure("ai_cost_usd"),),
            shown=_ONE,
        ),
        Tile(
            id="messages-by-day",
            kind=Kind.CHART,
            title="Messages by day",
            mart="system_daily_metrics",
            measures=(Measure("total_messages"), Measure("total_conversations")),
            shown=_ALL,
        ),
        Tile(
            id="cost-by-day",
            kind=Kind.CHART,
            title="Cost by day",
            mart="system_daily_metrics",
            measures=(Measure("cost_total"), Measure("cost_saved_by_cache")),
            shown=_ALL,
        ),
        Tile(
            id="latency",
            kind=Kind.CHART,
            title="Latency by day",
            mart="system_daily_metrics",
            measures=(
                Measure("p95_response_time_ms", How.MAX),
                Measure("avg_response_time_ms", How.MAX),
            ),
            shown=_ALL,
        ),
        Tile(
            id="models",
            kind=Kind.TABLE,
            title="Models",
            mart="system_daily_metrics",
            by=("model_distribution",),
            measures=(Measure("model_distribution", label="Messages", unit="count"),),
            order="-model_distribution",
            shown=_ALL,
        ),
        Tile(
            id="users",
            kind=Kind.TABLE,
            title="Users",
            note="none: chats of nobody who is known.",
            mart="user_daily_usage",
            by=("user_id",),
            measures=(
                Measure("cost_total"),
                Measure("message_count"),
                Measure("tokens_total"),
                Measure("error_count", **_COST),
            ),
            order="-cost_total",
        ),
        Tile(
            id="documents",
            kind=Kind.TABLE,
            title="Documents",
            note="none: chats that name no document.",
            mart="document_usage",
            by=("document_id",),
            measures=(
                Measure("query_count"),
                Measure("tokens_total"),
                Measure("cost_total"),
                Measure("error_count", **_COST),
            ),
            order="-query_count",
            shown=_ALL,
        ),
        Tile(
            id="limits",
            kind=Kind.ROWS,
            title="Limits reached or near, this month",
            mart="user_current_month",
            by=(
                "user_id",
                "status",
                "usage_percent",
                "message_count",
                "tokens_total",
                "cost_total",
                "limit_reached_at",
            ),
            only=("status", ("limit_reached", "warning", "approaching")),
            order="-usage_percent",
            limit=25,
            has_range=False,
            is_wide=True,
        ),
    ),
)

_SUMMARY = "/v1/dashboard?period=24h"
OPERATIONS = Page(
    name="operations",
    title="Operations",
    about="Alerts first; then how the API and the servers do.",
    filters=("endpoint", "method", "server_id"),
    days=7,
    tiles=(
        Tile(
            id="alerts",
            kind=Kind.ALERTS,
            title="Open alerts",
            mart="alert_history",
            path="/v1/alerts",
            has_range=False,
            limit=50,
            is_wide=True,
        ),
        Tile(
            id="last-day",
            kind=Kind.SUMMARY,
            title="The 24 hours before the last build",
            mart="dashboard_summary",
            path=_SUMMARY,
            by=(
                "api_calls",
                "error_rate",
                "avg_response_time_ms",
                "uptime_percent",
                "cpu_usage",
                "memory_usage",
            ),
            has_range=False,
            is_wide=True,
        ),
        _figure("error-rate", "api_performance_daily", API_ERROR_RATE),
        _figure("calls", "api_performance_daily", Measure("total_calls", lower_is_better=None)),
        Tile(
            id="errors-by-day",
            kind=Kind.CHART,
            title="API error rate by day",
            mart="api_performance_daily",
            measures=(API_ERROR_RATE,),
        ),
        Tile(
            id="calls-by-day",
            kind=Kind.CHART,
            title="API calls by day",
            mart="api_performance_daily",
            measures=(Measure("total_calls"), Measure("error_calls")),
        ),
        Tile(
            id="endpoints",
            kind=Kind.TABLE,
            title="Endpoints",
            mart="api_performance_daily",
            by=("endpoint", "method"),
            measures=(
                Measure("total_calls"),
                API_ERROR_RATE,
                Measure(
                    "p95_response_time_ms",
                    How.MAX,
                    label="Slowest day's p95",
                    lower_is_better=True,
                ),
            ),
            order="-total_calls",
            is_wide=True,
        ),
        *(
            Tile(
                id=f"server-{type}",
                kind=Kind.CHART,
                title=title,
                mart="system_metrics_hourly",
                by=("server_id",),
                measures=(Measure("average", How.MAX, label=title),),
                fixed={"metric_type": type},
                most_days=7,
            )
            for type, title in (("cpu_usage", "CPU by hour"), ("memory_usage", "Memory by hour"))
        ),
    ),
)

TRUST = Page(
    name="trust",
    title="Trust",
    about="Whether the figures are fresh, checked and complete.",
    filters=(CLIENT, "mart", "producer"),
    tiles=(
        Tile(
            id="unexplained",
            kind=Kind.FIGURE,
            title="",
            mart="ingest_reconciliation_daily",
            measures=(Measure("unexplained", **_COST),),
            is_by_clock=True,
        ),
        Tile(
            id="loss",
            kind=Kind.FIGURE,
            title="",
            mart="ingest_loss_daily",
            measures=(
                Measure(
                    "gaps",
                    How.RATIO,
                    ("events_seen", "gaps"),
                    "Events lost on the way",
                    "percent",
                    lower_is_better=True,
                ),
            ),
        ),
        _figure(
            "rejected",
            "ingest_reconciliation_daily",
            Measure("rejected", **_COST),
            is_by_clock=True,
        ),
        Tile(
            id="marts",
            kind=Kind.ROWS,
            title="Freshness, checks and offset of each mart",
            mart="mart_status",
            by=(
                "mart",
                "last_check_status",
                "last_check_at",
                "verified_at",
                "verified_cells",
                "built_as_of",
                "batch_seq",
                "row_count",
            ),
            order="last_check_status",
            limit=100,
            is_wide=True,
        ),
        Tile(
            id="restatements",
            kind=Kind.ROWS,
            title="Restatements: published figures that changed",
            mart="restatements",
            by=(
                "restated_at",
                "mart",
                "client_id",
                "period",
                "cause",
                "old_values",
                "new_values",
            ),
            order="-restated_at",
            limit=25,
            is_by_clock=True,
            is_wide=True,
        ),
        Tile(
            id="reconciliation",
            kind=Kind.CHART,
            title="What became of every line, by day of receipt",
            mart="ingest_reconciliation_daily",
            measures=(
                Measure("received"),
                Measure("accepted"),
                Measure("duplicates"),
                Measure("suppressed"),
                Measure("rejected"),
                Measure("unexplained"),
            ),
            is_by_clock=True,
            is_wide=True,
        ),
        Tile(
            id="producers",
            kind=Kind.TABLE,
            title="Measured loss by producer",
            mart="ingest_loss_daily",
            by=("producer",),
            measures=(
                Measure("events_seen"),
                Measure("gaps", **_COST),
                Measure("gaps", How.RATIO, ("events_seen", "gaps"), "Lost", "percent"),
            ),
            order="-gaps",
            is_wide=True,
        ),
        Tile(
            id="unknown-members",
            kind=Kind.TABLE,
            title="Parts of events that the tracking plan does not know",
            mart="unknown_members",
            by=("event", "member", "nearest_known"),
            measures=(Measure("events"),),
            order="-events",
            note="They were kept, and no mart reads them: a misspelt name loses its figure.",
            is_by_clock=True,
            is_wide=True,
        ),
        Tile(
            id="journal",
            kind=Kind.ROWS,
            title="Loads and builds",
            mart="warehouse_events",
            by=("occurred_at", "event", "detail"),
            order="-occurred_at",
            limit=15,
            is_by_clock=True,
            is_wide=True,
        ),
    ),
)

PAGES = (OVERVIEW, TRAFFIC, LEADS, RETENTION, REVENUE, AI_USAGE, OPERATIONS, TRUST)
