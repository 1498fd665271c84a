//! The ways in which the worker of this test can be wrong.

use crate::mutation::mutations;

mutations! {
    R1 {
        SecondInitIsIgnored = "r1-second-init-is-ignored",
        SecondInitReplacesTheFirst = "r1-second-init-replaces-the-first",
        WhatComesBeforeInitIsIgnored = "r1-what-comes-before-init-is-ignored",
    }
    R2 {
        UnannouncedChunkIsTaken = "r2-unannounced-chunk-is-taken",
        ChunkBehindTheLastIsTaken = "r2-chunk-behind-the-last-is-taken",
        FalseAnnouncesChunks = "r2-false-announces-chunks",
    }
    R3 {
        LengthIsNotChecked = "r3-length-is-not-checked",
        LengthIsOneOfChunks = "r3-length-is-one-of-chunks",
        ChecksumIsNotChecked = "r3-checksum-is-not-checked",
        ChecksumZeroIsNone = "r3-checksum-zero-is-none",
        InlinePartIsForgotten = "r3-inline-part-is-forgotten",
        ChunksComeInReverse = "r3-chunks-come-in-reverse",
        ClaimedLengthIsAllocated = "r3-claimed-length-is-allocated",
    }
    R4 {
        InitResponseTwice = "r4-init-response-twice",
        InitResponseWaitsForData = "r4-init-response-waits-for-data",
        InitResponseBeforeThePayload = "r4-init-response-before-the-payload",
    }
    R5 {
        EarlyDataIsLost = "r5-early-data-is-lost",
        EarlyFinishIsLost = "r5-early-finish-is-lost",
        DataAmongChunksIsDropped = "r5-data-among-chunks-is-dropped",
    }
    R6 {
        OutputWaitsForFinish = "r6-output-waits-for-finish",
        DeafWhileSending = "r6-deaf-while-sending",
        OutputLagsBehind = "r6-output-lags-behind",
        SinkAnswers = "r6-sink-answers",
        GeneratorWaitsToBeAsked = "r6-generator-waits-to-be-asked",
        OutputSwapsPlaces = "r6-output-swaps-places",
    }
    R7 {
        TwoErrorResponses = "r7-two-error-responses",
        DataBehindTheError = "r7-data-behind-the-error",
        EachFailureIsReported = "r7-each-failure-is-reported",
    }
    R8 {
        FinishResponseAfterAnError = "r8-finish-response-after-an-error",
        FinishResponseAfterAFailedInit = "r8-finish-response-after-a-failed-init",
        CancelAfterAnErrorIsNotHeard = "r8-cancel-after-an-error-is-not-heard",
    }
    R9 {
        CancelBeforeInitIsRefused = "r9-cancel-before-init-is-refused",
        CancelAmongChunksIsRefused = "r9-cancel-among-chunks-is-refused",
        LongReasonIsRefused = "r9-long-reason-is-refused",
    }
    R10 {
        FinishResponseUnasked = "r10-finish-response-unasked",
        FinishResponseOvertakes = "r10-finish-response-overtakes-output",
        FinishIsNotAnswered = "r10-finish-is-not-answered",
    }
    R11 {
        CancelBehindFinishIsIgnored = "r11-cancel-behind-finish-is-ignored",
        CancelBehindFinishIsRefused = "r11-cancel-behind-finish-is-refused",
        CancelBehindFinishResponseIsAnswered = "r11-cancel-behind-finish-response-is-answered",
    }
    R12 {
        InputIsWorkedOffAfterCancel = "r12-input-is-worked-off-after-cancel",
        CancelIsAnError = "r12-cancel-is-an-error",
        CancelWaitsForTheCall = "r12-cancel-waits-for-the-call",
        OverdueCallIsNoError = "r12-overdue-call-is-no-error",
        OutputBehindCancel = "r12-output-behind-cancel",
        OverdueCallsAreNotCounted = "r12-overdue-calls-are-not-counted",
        CancelResponseWithoutMetrics = "r12-cancel-response-without-metrics",
    }
    R13 {
        TwoTerminators = "r13-two-terminators",
        NoTerminator = "r13-no-terminator",
        StreamIsLeftOpen = "r13-stream-is-left-open",
    }
    R14 {
        FailureIsAStatus = "r14-failure-is-a-status",
        StatusBehindTheError = "r14-status-behind-the-error",
        ErrorWithoutKind = "r14-error-without-kind",
        ViolationIsAUserError = "r14-violation-is-a-user-error",
        GarbageIsAWrongArgument = "r14-garbage-is-a-wrong-argument",
        UnknownMethodIsInternal = "r14-unknown-method-is-internal",
        BrokenStreamStaysActive = "r14-broken-stream-stays-active",
        DeadlineIsAnotherStatus = "r14-deadline-is-another-status",
    }
    R15 {
        UnspecifiedDataFormatIsTaken = "r15-unspecified-data-format-is-taken",
        UnknownDataFormatIsTaken = "r15-unknown-data-format-is-taken",
    }
    R16 {
        EmptyRequestIsIgnored = "r16-empty-request-is-ignored",
        EmptyControlIsIgnored = "r16-empty-control-is-ignored",
        EmptyDataIsEmptyRequest = "r16-empty-data-is-an-empty-request",
    }
    R17 {
        AnyVersionIsTaken = "r17-any-version-is-taken",
        VersionZeroIsTaken = "r17-version-zero-is-taken",
        UnsetVersionIsRefused = "r17-unset-version-is-refused",
        VersionIsLookedAtLast = "r17-version-is-looked-at-last",
        SupportedVersionsAreNotNamed = "r17-supported-versions-are-not-named",
    }
    R18 {
        InitWithoutUdfIsTaken = "r18-init-without-udf-is-taken",
        EmptyFormatIsEcho = "r18-empty-format-is-echo",
        UnknownConfIsRefused = "r18-unknown-conf-is-refused",
        UnknownContextIsRefused = "r18-unknown-context-is-refused",
        NameIsTheFormat = "r18-name-is-the-format",
    }
    R19 {
        ViolationInCancelResponse = "r19-violation-in-cancel-response",
        ViolationIsAStatus = "r19-violation-is-a-status",
        DataBehindFinishIsTaken = "r19-data-behind-finish-is-taken",
        HalfCloseInErrorResponse = "r19-half-close-in-error-response",
        HalfCloseIsFinish = "r19-half-close-is-finish",
    }
    R20 {
        UnknownFieldsAreRefused = "r20-unknown-fields-are-refused",
        OrderOfFieldsMatters = "r20-order-of-fields-matters",
    }
    C1 {
        EarlyDataIsRefused = "c1-early-data-is-refused",
        EarlyFinishIsRefused = "c1-early-finish-is-refused",
        DataAmongChunksIsKept = "c1-data-among-chunks-is-kept",
    }
    C2 {
        FailureWaitsForEver = "c2-failure-waits-for-ever",
        FailureEndsWithoutTerminator = "c2-failure-ends-without-a-terminator",
    }
    C3 {
        CancelOfAWaitingInitIsAnError = "c3-cancel-of-a-waiting-init-is-an-error",
    }
    C4 {
        LateMessagesEndTheWorker = "c4-late-messages-end-the-worker",
    }
    C5 {
        EmptyLastChunkIsRefused = "c5-empty-last-chunk-is-refused",
    }
    C6 {
        HalfCloseBehindFinishIsRefused = "c6-half-close-behind-finish-is-refused",
        HalfCloseCutsTheOutput = "c6-half-close-cuts-the-output",
    }
    C7 {
        ShutdownWithoutAnError = "c7-shutdown-without-an-error",
        ShutdownAddsAnError = "c7-shutdown-adds-an-error",
        ShutdownSkipsInit = "c7-shutdown-skips-init-response",
    }
    C8 {
        CountersCountFraming = "c8-counters-count-framing",
        ZerosAreLeftOut = "c8-zeros-are-left-out",
    }
    C9 {
        BatchesOfNoRowsAreSkipped = "c9-batches-without-rows-are-skipped",
    }
    C10 {
        HostileBytesEndTheWorker = "c10-hostile-bytes-end-the-worker",
        HostileBytesAreAUserError = "c10-hostile-bytes-are-a-user-error",
        RangesAreNotChecked = "c10-ranges-are-not-checked",
        RowsAreNotChecked = "c10-rows-are-not-checked",
    }
    C11 {
        LimitOfCallsIsIgnored = "c11-limit-is-ignored",
        LimitIsOfAllCalls = "c11-limit-is-of-all-calls",
        WaitingForInputCounts = "c11-waiting-for-input-counts",
        OverLimitIsAWorkerError = "c11-over-limit-is-a-worker-error",
        BatchIsNotNamed = "c11-batch-is-not-named",
        CallOverLimitIsNotOverdue = "c11-call-over-limit-is-not-overdue",
        LimitHas32Bits = "c11-limit-has-32-bits",
    }
    C12 {
        NoCondition = "c12-no-condition",
        ConditionInWords = "c12-condition-in-words",
    }
    M1 {
        HeartbeatIsAnsweredByShutdown = "m1-heartbeat-is-answered-by-shutdown",
        EmptyManageIsAHeartbeat = "m1-empty-request-is-a-heartbeat",
    }
    M2 {
        HeartbeatWaitsForCalls = "m2-heartbeat-waits-for-calls",
        HeartbeatWaitsForTheReader = "m2-heartbeat-waits-for-the-reader",
        MetricIsMissing = "m2-metric-is-missing",
        SessionsStayActive = "m2-sessions-stay-active",
        FailuresAreNotCounted = "m2-failures-are-not-counted",
        BrokenStreamsAreNoFailures = "m2-broken-streams-are-no-failures",
        UptimeInSeconds = "m2-uptime-in-seconds",
        MemoryInPages = "m2-memory-in-pages",
        BytesCountAtTheEnd = "m2-bytes-count-at-the-end",
    }
    M3 {
        NewStreamsAreTaken = "m3-new-streams-are-taken",
        AlwaysSettled = "m3-always-settled",
        StreamsAreCut = "m3-streams-are-cut",
        SocketStays = "m3-socket-stays",
        ExitStatusIsOne = "m3-exit-status-is-one",
        AnswerWaitsForStreams = "m3-answer-waits-for-streams",
        ManageGoesDown = "m3-manage-goes-down",
    }
    M4 {
        CancelSessionsIsIgnored = "m4-cancel-sessions-is-ignored",
        AnswerBeforeTheTerminators = "m4-answer-before-the-terminators",
        NeverExits = "m4-never-exits",
        ReadersAreWaitedForWithoutEnd = "m4-readers-are-waited-for-without-end",
    }
    M5 {
        HealthAlwaysServes = "m5-health-always-serves",
        HealthIsNotThere = "m5-health-is-not-there",
        ReflectionForgetsTheProtocol = "m5-reflection-forgets-the-protocol",
    }
    M6 {
        AnotherLimitIsAnnounced = "m6-another-limit-is-announced",
        NoVersionsAreAnnounced = "m6-no-versions-are-announced",
    }
    P1 {
        UnknownFlagsAreRefused = "p1-unknown-flags-are-refused",
        UnknownFlagTakesTheNext = "p1-unknown-flag-takes-the-next",
        ValueOfAnUnknownFlagIsThePlace = "p1-value-of-an-unknown-flag-is-the-place",
    }
    P2 {
        NoIpv6 = "p2-no-ipv6",
        NoIpv4 = "p2-no-ipv4",
    }
    P3 {
        SigtermEndsAtOnce = "p3-sigterm-ends-at-once",
        SigtermIsAFailure = "p3-sigterm-is-a-failure",
        NoGrace = "p3-no-grace",
        GraceIsEndless = "p3-grace-is-endless",
        SecondSigtermIsIgnored = "p3-second-sigterm-is-ignored",
        ForwardedSigtermCounts = "p3-forwarded-sigterm-counts",
    }
    P4 {
        OutlivesItsParent = "p4-outlives-its-parent",
        StandaloneIsIgnored = "p4-standalone-is-ignored",
        NoGraceForOrphans = "p4-no-grace",
    }
    P5 {
        DataIsPrinted = "p5-data-is-printed",
        TokenIsPrinted = "p5-token-is-printed",
        FullLogEndsTheWorker = "p5-full-log-ends-the-worker",
    }
    P6 {
        StaleSocketIsInTheWay = "p6-stale-socket-is-in-the-way",
        SocketInUseIsTaken = "p6-socket-in-use-is-taken",
    }
    P7 {
        LimitOfGrpc = "p7-limit-of-grpc",
        NoLimit = "p7-no-limit",
        LimitOfThePeerIsForgotten = "p7-limit-of-the-peer-is-forgotten",
        SmallLimitIsTaken = "p7-small-limit-is-taken",
    }
    P8 {
        OnlyLocalhost = "p8-only-localhost",
        PercentIsRefused = "p8-percent-is-refused",
    }
    P9 {
        AnyToken = "p9-any-token",
        BeginningOfTheTokenWillDo = "p9-beginning-of-the-token-will-do",
        ManageNeedsNoToken = "p9-manage-needs-no-token",
        ManageKnowsNoToken = "p9-manage-knows-no-token",
        SocketIsPublic = "p9-socket-is-public",
    }
    P10 {
        AllAreServed = "p10-all-are-served",
        NoPlaceIsARefusal = "p10-no-place-is-a-refusal",
        PlaceOfTheFailedIsLost = "p10-place-of-the-failed-is-lost",
        TheCancelledKeepsItsTurn = "p10-the-cancelled-keeps-its-turn",
        LatestComesFirst = "p10-latest-comes-first",
    }
    P11 {
        GzipIsNotUnderstood = "p11-gzip-is-not-understood",
        FlagIsIgnored = "p11-flag-is-ignored",
        AnyEncodingIsTaken = "p11-any-encoding-is-taken",
    }
    S1 {
        EchoAddsAByte = "s1-echo-adds-a-byte",
        EchoSkipsEmptyData = "s1-echo-skips-empty-data",
        InitErrorOpens = "s1-init-error-opens",
    }
    S2 {
        ErrorIsEchoed = "s2-error-is-echoed",
        ErrorOfTheWorker = "s2-error-of-the-worker",
        NoErrorClass = "s2-no-error-class",
    }
    S3 {
        NoStatus = "s3-no-status",
    }
    S4 {
        GeneratesOneTooFew = "s4-generates-one-too-few",
        GeneratesFromOne = "s4-generates-from-one",
    }
    S5 {
        SinkCountsBytes = "s5-sink-counts-bytes",
    }
    S6 {
        SlowIsQuick = "s6-slow-is-quick",
        HangReturns = "s6-hang-returns",
    }
}
