"""The rules that are broken one at a time, and the test that must notice each.

A line of the code that keeps a rule is replaced by one that does not.
"""

#: rule -> (file, the line that keeps it, the line that breaks it, the test that must notice)
MUTANTS = {
    "commits are synced": (
        "bot/ledger/db.py", "PRAGMA synchronous = FULL", "PRAGMA synchronous = OFF",
        "tests/integration/test_power_cut.py::test_no_acknowledged_transaction_is_lost_in_a_power_cut",
    ),
    "transactions begin immediate": (
        "bot/ledger/db.py", '"BEGIN IMMEDIATE"', '"BEGIN DEFERRED"',
        "tests/integration/test_ledger.py::test_three_processes_that_read_and_write_lose_no_update",
    ),
    "a guard that raises says no": (
        "bot/risk/guards.py", "        except Exception as error:  # a guard that cannot answer says no\n            return",
        "        except Exception as error:\n            continue\n            return",
        "tests/unit/test_risk.py::test_a_guard_that_raises_counts_as_no",
    ),
    "duplicated means landed": (
        "bot/polymarket/outcomes.py", 'return Accepted("duplicate")', 'return Rejected(_R.PAYLOAD, "duplicated")',
        "tests/unit/test_outcomes.py::test_duplicated_means_landed",
    ),
    "a server error proves nothing": (
        "bot/polymarket/outcomes.py", 'return Unknown(f"HTTP {status}")\n    try', 'return Rejected(_R.EXCHANGE, "")\n    try',
        "tests/unit/test_outcomes.py::test_a_server_error_proves_nothing",
    ),
    "facts are grouped by maximum": (
        "bot/model/totals.py", "return max(totals.values(), default=(0, 0))", "return min(totals.values(), default=(0, 0))",
        "tests/unit/test_totals.py::test_streams_never_exceed_and_complete_answers_always_reach_the_truth",
    ),
    "no byte leaves after the deadline": (
        "bot/execution/send.py", "if sent_us >= order.deadline_us:", "if sent_us < 0:",
        "tests/integration/test_recovery.py::test_no_byte_leaves_after_the_deadline",
    ),
    "a failed fill is taken back": (
        "bot/execution/fills.py", "    if known is None or failed:\n        store(", "    if known is None:\n        store(",
        "tests/integration/test_execution.py::test_a_failed_settlement_is_taken_back_once",
    ),
    "what is in flight counts against the caps": (
        "bot/ledger/positions.py", '"SELECT SUM(MAX(0, reserved -', '"SELECT 0 * SUM(MAX(0, reserved -',
        "tests/integration/test_execution.py::test_concurrent_signals_never_exceed_the_caps",
    ),
    "work that raises takes no neighbour with it": (
        "bot/ledger/db.py", '        db.execute("ROLLBACK TO item")\n        db.execute("RELEASE item")\n        return error',
        '        db.execute("RELEASE item")\n        return error',
        "tests/integration/test_connection.py::test_what_waits_together_commits_together_and_one_that_raises_is_undone_alone",
    ),
    "a state is changed from the state that was read": (
        "bot/ledger/orders.py", " WHERE id = :id AND state = :old", " WHERE id = :id AND :old = :old",
        "tests/integration/test_ledger.py::test_an_order_is_moved_only_from_the_state_it_was_read_in",
    ),
    "an ended order frees its budget once it is proven": (
        "bot/execution/fills.py", "    if (order.matched or 0) - shares >= CENT:", "    if shares < 0:",
        "tests/integration/test_recovery.py::test_only_evidence_ends_what_the_exchange_has",
    ),
    'pongs make nothing fresh': (
        'bot/polymarket/books.py', 'time.monotonic() - shard.stream.data_heard) * MICRO',
        'time.monotonic() - shard.stream.heard) * MICRO',
        'tests/integration/test_unkind.py::test_a_channel_that_answers_pings_alone_makes_no_book_fresh',
    ),
    'a lapsed subscription is asked for again': (
        'bot/polymarket/stream.py', 'last = self.heard if self.silence_s is None else self.data_heard',
        'last = self.heard',
        'tests/integration/test_unkind.py::test_a_lapsed_subscription_is_asked_for_again_though_pings_are_answered',
    ),
    'a page at login is weather': (
        'bot/polymarket/clob.py', '            if not _refusal(reply):\n                raise Unavailable',
        '            if reply.status >= 429:\n                raise Unavailable',
        'tests/integration/test_unkind.py::test_a_page_at_login_is_weather_and_a_refusal_of_the_key_is_not',
    ),
    "an answer may be a millionth above its trades": (
        "bot/execution/fills.py", "(order.matched or 0) - shares >= CENT", "(order.matched or 0) - shares > 0",
        "tests/integration/test_unkind.py::test_an_answer_a_millionth_above_its_trades_ends_its_order",
    ),
    'one unreadable trade locks nothing': (
        'bot/polymarket/clob.py', '                    unreadable.append(Unreadable(str(error), _named(bytes(row))))',
        '                    raise Unavailable(str(error)) from None',
        'tests/integration/test_unkind.py::test_one_unreadable_trade_locks_nothing_and_is_told',
    ),
    'amounts are decimal text': (
        'bot/polymarket/outcomes.py', '    return (min(int(made * MICRO), maker_amount), int(took * MICRO)) if fits else (0, 0)',
        '    scale = MICRO if fits else 1\n    return (min(int(made * scale), maker_amount), int(took * scale))',
        'tests/unit/test_outcomes.py::test_amounts_are_decimal_text_and_what_does_not_fit_proves_nothing',
    ),
    'fees are cut, on the average price': (
        'bot/model/fees.py', 'return int(exact // _STEP) * _STEP',
        'return int((exact + _STEP // 2) // _STEP) * _STEP',
        'tests/unit/test_wire.py::test_fees_are_cut_as_in_real_charges',
    ),
    'a funder is proven': (
        'bot/polymarket/wallet.py', '    if funder in wallets[signature_type]:\n        return',
        '    if funder:\n        return',
        'tests/unit/test_wallet.py',
    ),
    'an unfinished story fails': (
        'bot/lab/demo.py', 'problems = _unfinished(truth) + judgement.problems',
        'problems = judgement.problems',
        'tests/integration/test_unkind.py::test_a_story_that_was_not_finished_fails',
    ),
    'a crash loop stops entries alone': (
        'bot/runtime.py', '                ControlMode.PAUSED,\n                reason=reason,',
        '                ControlMode.HALTED,\n                reason=reason,',
        'tests/integration/test_unkind.py::test_a_crash_loop_stops_entries_for_a_while_and_a_reboot_is_nobodys_fault',
    ),
    'a reboot is no crash': (
        'bot/runtime.py', 'limits.crash_window_s * MICRO, booted_us)',
        'limits.crash_window_s * MICRO, booted_us - 10**9)',
        'tests/integration/test_unkind.py::test_a_crash_loop_stops_entries_for_a_while_and_a_reboot_is_nobodys_fault',
    ),
    'a pause is not cut short': (
        'bot/ledger/control.py', 'AND COALESCE(until_us, :forever) >= COALESCE(:until, :forever)',
        'AND 0 = COALESCE(:until, 1)',
        'tests/integration/test_unkind.py::test_a_pause_is_never_cut_short_and_a_halt_keeps_its_first_reason',
    ),
    'a bought trade is shown as bought': (
        'bot/report/lists.py', "ORDER BY COALESCE(e.verdict, '') = 'copied' DESC, s.seq DESC",
        'ORDER BY s.seq DESC',
        'tests/integration/test_unkind.py::test_a_trade_that_was_bought_and_grew_too_late_is_shown_as_bought',
    ),
    'a slow beat is no hang': (
        'bot/report/status.py', '_gauge(b["detail"], "beat_s") or DEFAULT_BEAT_S',
        'DEFAULT_BEAT_S',
        'tests/integration/test_unkind.py::test_a_slow_beat_is_no_hang_and_locked_entries_are_on_the_first_screen',
    ),
    'reconcile agrees only when it knows': (
        'bot/cli/maintain.py', '        return Unavailable.exit_code\n    say(',
        '        return 0\n    say(',
        'tests/integration/test_unkind.py::test_reconcile_says_that_it_agrees_only_when_it_knows',
    ),
    "last known facts serve exits": (
        "bot/execution/drive.py", "        return await self.ledger.look(markets.last_known, intent.condition)",
        "        return None",
        "tests/integration/test_stories_1_to_14.py::test_story_8_an_exit_lives_on_the_last_known_facts",
    ),
    "each exit is driven on its own": (
        "bot/execution/loop.py", "        self._drive(found, stopping)",
        "        for intent in found.exits:\n"
        "            await self._driver.data.watch([intent.token], max_age_us=0)\n"
        "        self._drive(found, stopping)",
        "tests/integration/test_stories_1_to_14.py::test_story_8_a_hanging_market_delays_no_other_exit",
    ),
    "who is followed no more is followed out": (
        "bot/ledger/roster.py", "WHEN {_HELD} THEN 2", "WHEN {_HELD} THEN 0",
        "tests/integration/test_stories_1_to_14.py::test_story_7_who_is_removed_is_followed_out",
    ),
    "what has settled is sold": (
        "bot/execution/drive.py", "        if min(over, settled) < CENT:", "        if settled < over:",
        "tests/integration/test_exits.py::test_a_fill_that_never_mines_holds_up_its_own_shares_only",
    ),
    'dust is nothing': (
        'bot/ledger/positions.py', 'f"SELECT SUM(shares) FROM position WHERE shares >= {CENT} AND token = "',
        'f"SELECT SUM(shares) FROM position WHERE shares >= {CENT * 0} AND token = "',
        'tests/integration/test_stories_1_to_14.py::test_story_12_dust_makes_no_side_taken',
    ),
    "a gate that stays shut asks the wallet": (
        "bot/execution/drive.py", "            if (less := _wallet(tx, intent, seen, now, exactly=True)) is not None:", "            if (less := None) is not None:",
        "tests/integration/test_stories_24_to_30.py::test_story_30_a_gate_that_stays_shut_lets_an_exit_go_on_the_wallets_word",
    ),
    "nothing is driven before the gate opens": (
        "bot/execution/drive.py", "            if now < self.born_us + ALONE_S * MICRO:", "            if now < 0:",
        "tests/integration/test_stories_24_to_30.py::test_story_30_a_gate_that_stays_shut_lets_an_exit_go_on_the_wallets_word",
    ),
    "a token with forgotten trades waits": (
        "bot/execution/drive.py", "        return \"trades of this token that the ledger cannot read or does not know\"",
        "        return None",
        "tests/integration/test_exits.py::test_a_token_with_unread_trades_waits",
    ),
    "after doubt only the wallet lets an exit go on": (
        "bot/execution/drive.py", "        doubted = intents.doubted(tx, intent)\n", "        doubted = False\n",
        "tests/integration/test_stories_1_to_14.py::test_story_11_after_an_unproven_attempt_only_the_wallets_word_lets_another_go",
    ),
    "one attempt is in flight": (
        "migrations/versions/0003_state_not_events.py", "CREATE UNIQUE INDEX ux_orders_one_in_flight",
        "CREATE INDEX ux_orders_one_in_flight",
        "tests/integration/test_ledger.py::test_one_attempt_of_an_intent_is_in_flight",
    ),
    "an exit ends when it is reached": (
        "bot/ledger/intents.py", "    over = maybe - standing.target >= CENT", "    over = maybe - standing.target >= 50_000_000",
        "tests/integration/test_stories_24_to_30.py::test_story_26_what_has_settled_goes_the_rest_when_it_is_mined",
    ),
    "an exit stands again when its sale fails": (
        "bot/execution/fills.py", "failed and not intents.reopen(tx, order, now_us=now_us):", "failed and order.attempt < 0:",
        "tests/integration/test_execution.py::test_a_sale_that_fails_on_the_chain_is_sold_again",
    ),
    "the cover says how much": (
        "bot/model/intent.py", "    return cover.shares * exposure // cover.leader", "    return min(cover.shares, exposure)",
        "tests/unit/test_leave.py",
    ),
    "an increase that is passed over sets the cover anew": (
        "bot/execution/leave.py", "            return\n    covers.store(tx, portfolio, token, Cover(ours, exposure), now_us=now_us)",
        "            return\n    pass",
        "tests/integration/test_stories_1_to_14.py::test_story_3_an_increase_that_we_skip_sets_the_cover_anew",
    ),
    "an ended entry sets the cover anew": (
        "bot/ledger/covers.py", "        store(tx, order.portfolio, order.token, Cover(held, exposure), now_us=now_us)\n\n\ndef bought_late",
        "        assert order\n\n\ndef bought_late",
        "tests/integration/test_stories_1_to_14.py::test_story_2_half_a_filled_entry_follows_half_a_sale",
    ),
    "what rests ends by proof": (
        "bot/execution/evidence.py", "        if order.cancelled_us is not None and began >= order.cancelled_us + lag:",
        "        if began:",
        "tests/integration/test_standing_exits.py::test_a_resting_order_is_ended_by_proof_alone",
    ),
    "a reached exit is not about what comes later": (
        "bot/ledger/intents.py", "    standing = open_on(tx, portfolio, token)\n    if standing is None or standing.kind",
        "    standing = latest_on(tx, portfolio, token)\n    if standing and standing.state is IntentState.REACHED:\n"
        "        run(tx, \"UPDATE intent SET state = 'open' WHERE id = :id\", id=standing.id)\n"
        "    if standing is None or standing.kind",
        "tests/integration/test_foreign.py::test_a_reached_exit_is_not_about_shares_that_come_later",
    ),
    "shares that show late ask for a decision": (
        "bot/execution/fills.py", "            correct(tx, order.portfolio, order.condition, order.token, now_us=now_us)",
        "            pass",
        "tests/integration/test_standing_exits.py::test_shares_that_show_after_he_left_follow_him_out",
    ),
    "an increase raises what rests": (
        "bot/execution/loop.py", "            await self._decider.raise_standing(signal)",
        "            pass",
        "tests/integration/test_standing_exits.py::test_an_increase_raises_an_exit_that_rests",
    ),
    "doubt is about shares, not about an intent": (
        "bot/ledger/intents.py", "SELECT doubted FROM orders WHERE portfolio = :portfolio AND token = :token",
        "SELECT doubted FROM orders WHERE :portfolio = :token",
        "tests/integration/test_standing_exits.py::test_doubt_outlives_its_intent",
    ),
    "an operator's close is his": (
        "bot/execution/leave.py", "        if intents.asked_by_operator(tx, leaving):", "        if leaving.target < 0:",
        "tests/integration/test_standing_exits.py::test_a_leader_changes_nothing_about_an_operators_close",
    ),
    "what was passed over is counted before a sale": (
        "bot/execution/leave.py", "            for entry in signals.overtaken(tx, signal):", "            for entry in ():",
        "tests/integration/test_standing_exits.py::test_covers_count_the_other_side_and_what_was_passed_over",
    ),
    "a foreign trade is known by itself": (
        "bot/ledger/orders.py", "(mine.intent_id is not None or _booked(tx, one_fill.trade_id))", "mine",
        "tests/integration/test_foreign.py::test_a_sale_by_hand_in_two_trades_takes_from_all_in_proportion",
    ),
    "a halt takes what rests off the book": (
        "bot/execution/drive.py", "        return halted or old or intent is None", "        return old or intent is None",
        "tests/integration/test_stories_24_to_30.py::test_story_27_halt_in_the_middle_of_an_exit",
    ),
    "a sale that is not decided yet is still to be followed": (
        "bot/ledger/leaders.py", "COALESCE(({_NET}), 0) + COALESCE(", "COALESCE(({_NET}), 0) + 0 * COALESCE(",
        "tests/integration/test_standing_exits.py::test_a_sale_seen_before_our_entry_has_ended_still_finds_its_part",
    ),
    "we do not trade with ourselves": (
        "bot/execution/decide.py", "exit_stands=intents.exit_stands_in(tx, signal.token)", "exit_stands=False",
        "tests/integration/test_stories_1_to_14.py::test_story_14_we_do_not_trade_with_ourselves",
    ),
    "a close locks entries": (
        "bot/execution/leave.py", "        control.lock(tx, control.position(portfolio, token), reason, until_us=until)",
        "        assert until and reason",
        "tests/integration/test_stories_24_to_30.py::test_story_28_an_operators_close_locks_entries",
    ),
    "an ended market is settled once": (
        "bot/ledger/markets.py", """        " AND status <> 'ended'",""", """        "",""",
        "tests/integration/test_resolution.py::test_an_end_is_stored_once",
    ),
    "a payout ends a position": (
        "bot/execution/settle.py", "    intents.end_in_market(tx, ended.tokens, now_us=now_us)", "    assert intents",
        "tests/integration/test_stories_1_to_14.py::test_story_9_a_market_that_ends_ends_our_position",
    ),
    "collateral is no credit while shares are missing": (
        "bot/execution/reconcile.py", '        if [difference.kind for difference in wrong] != ["cash"]:',
        '        if "cash" not in [difference.kind for difference in wrong]:',
        "tests/integration/test_reconcile.py::test_collateral_is_no_credit_while_shares_are_missing",
    ),
    "a replaced executor drives no exit": (
        "bot/execution/drive.py", "        control.fence(tx, self.boot_id)\n        intent, now", "        intent, now",
        "tests/integration/test_standing_exits.py::test_an_executor_that_was_replaced_decides_drives_and_cancels_nothing",
    ),
    "a replaced executor decides no exit": (
        "bot/execution/leave.py", "        control.fence(tx, self.boot_id)\n", "",
        "tests/integration/test_standing_exits.py::test_an_executor_that_was_replaced_decides_drives_and_cancels_nothing",
    ),
    "a replaced executor cancels nothing": (
        "bot/execution/drive.py", "        control.fence(tx, self.boot_id)\n        for order", "        for order",
        "tests/integration/test_standing_exits.py::test_a_replaced_executor_cancels_nothing",
    ),
    "the wallet's word counts what is on its way": (
        "bot/ledger/positions.py", "SUM(CASE WHEN side = 'SELL' THEN shares\"", "SUM(CASE WHEN side = 'SELL' THEN 0\"",
        "tests/integration/test_standing_exits.py::test_a_wallet_is_whole_with_all_that_may_be_in_it",
    ),
    "a burst's budget is spent once": (
        'bot/ledger/bursts.py', ' AND i.burst_us = :burst',
        ' AND i.burst_us > :burst',
        'tests/integration/test_stories_15_to_17.py::test_story_17_who_buys_sells_and_buys_back_spends_one_burst',
    ),
    'a resting order of his is one burst': (
        'bot/model/burst.py', ' or abs(price - self.price) <= SAME_PRICE',
        '',
        'tests/integration/test_stories_15_to_17.py::test_story_15_a_resting_order_of_his_in_six_transactions_is_one_entry',
    ),
    'a burst is judged whole': (
        'bot/strategy/mirror.py', 'max(view.signal.group_usdc, view.burst.usdc)',
        'view.signal.group_usdc',
        'tests/integration/test_stories_15_to_17.py::test_story_16_five_hundred_dollars_in_fifty_pieces_are_judged_as_one',
    ),
    'who trades both sides is not followed in': (
        'bot/execution/decide.py', 'signal.traded_s - LATELY_S',
        'signal.traded_s + LATELY_S',
        'tests/integration/test_stories_15_to_17.py::test_story_17_who_buys_sells_and_buys_back_spends_one_burst',
    ),
    'the money is what the shares cost': (
        'bot/strategy/walk.py', '    usdc = min(-(-cost // MICRO), most_usdc)',
        '    usdc = most_usdc',
        'tests/unit/test_mirror.py::test_a_cheaper_book_brings_the_shares_that_were_wanted_and_no_more',
    ),
    'an attempt in doubt is the last of its entry': (
        'bot/ledger/intents.py', '    elif order.doubted or order.state not in _PROVEN or',
        '    elif',
        'tests/integration/test_stories_15_to_17.py::test_an_attempt_in_doubt_is_the_last_of_its_entry_and_spends_its_burst',
    ),
    'what is in doubt is spent': (
        'bot/ledger/bursts.py', 'maybe = f"o.doubted = 1 OR o.{FLYING}"',
        'maybe = f"o.{FLYING}"',
        'tests/integration/test_stories_15_to_17.py::test_an_attempt_in_doubt_is_the_last_of_its_entry_and_spends_its_burst',
    ),
    'limits are read again at every attempt': (
        'bot/execution/enter.py', '        if skip is not None:\n            intents.finish',
        '        if skip is None is not None:\n            intents.finish',
        'tests/integration/test_stories_15_to_17.py::test_limits_are_read_again_before_the_rest_is_bought',
    ),
    'an entry ends in time': (
        'bot/execution/enter.py', '        if now >= (intent.deadline_us or 0) or',
        '        if now < 0 or',
        'tests/integration/test_stories_15_to_17.py::test_an_entry_ends_where_nobody_offers_the_rest_in_time',
    ),
    "an exit keeps its part of an entry that ends after it": (
        "bot/ledger/covers.py", "    if standing is not None and standing.kind is IntentKind.EXIT:\n        # An exit stands", "    if order is None:\n        # An exit stands",
        "tests/integration/test_standing_exits.py::test_an_exit_decided_before_its_entry_has_ended_keeps_its_part",
    ),
    "shares that come late count into the cover": (
        "bot/execution/fills.py", "        covers.bought_late(tx, order, -change if failed else change, now_us=now_us)\n", "",
        "tests/integration/test_standing_exits.py::test_shares_that_show_after_he_left_by_half_follow_him_by_half",
    ),
    "a close locks entries of what is not held yet": (
        "bot/execution/leave.py", "        control.lock(tx, control.position(portfolio, token)",
        "        held and control.lock(tx, control.position(portfolio, token)",
        "tests/integration/test_standing_exits.py::test_a_close_locks_entries_whether_or_not_anything_is_held_yet",
    ),
    "a sale in flight keeps entries out": (
        "bot/ledger/intents.py", "token = :token AND side = 'SELL' AND {FLYING}", "token = :token AND side = 'NONE' AND {FLYING}",
        "tests/integration/test_standing_exits.py::test_a_sale_that_may_rest_keeps_entries_out_when_its_exit_is_withdrawn",
    ),
    "what is gone is missed in proportion": (
        "bot/execution/foreign.py", "else left * held.shares // total", "else min(left, held.shares)",
        "tests/integration/test_foreign.py::test_shares_that_are_gone_are_missed_by_external_first_and_then_in_proportion",
    ),
    "what is redeemed is owed no more": (
        "bot/execution/foreign.py", "    positions.redeemed(tx, owed, now_us=now_us)\n", "",
        "tests/integration/test_resolution.py::test_what_somebody_redeems_is_owed_no_more_and_no_profit_again",
    ),
    "a position without facts ends with its market": (
        "bot/polymarket/public.py", "        self.heard(found.facts())\n", "",
        "tests/integration/test_resolution.py::test_what_is_held_in_a_market_that_nobody_has_told_of_yet_ends_all_the_same",
    ),
    "progress begins an exit's pauses anew": (
        "bot/ledger/intents.py", "THEN due_us ELSE :now END, tries = 0\"", "THEN due_us ELSE :now END\"",
        "tests/integration/test_exits.py::test_progress_begins_the_pauses_anew",
    ),
    "a resume lets standing exits look at once": (
        "bot/ledger/control.py", "        intents.wake(tx, now_us=now_us)\n    return changed == 1", "        pass\n    return changed == 1",
        "tests/integration/test_exits.py::test_a_resume_tries_standing_exits_at_once",
    ),
    "balances are asked slowly": (
        "bot/polymarket/clob.py", "        await self._balances.acquire()\n", "",
        "tests/integration/test_clob.py::test_balances_are_asked_slower_than_the_exchange_allows",
    ),
    "a restored ledger knows whose order it was": (
        "bot/execution/reconcile.py", "await asyncio.to_thread(kept_owner, self.ledger.path, fill.order_id)", "None",
        "tests/integration/test_reconcile.py::test_a_ledger_that_was_put_aside_says_whose_order_it_was",
    ),
    "what is being bought is closed as well": (
        "bot/cli/positions.py", "if r[\"kind\"] == IntentKind.ENTRY and", "if r[\"kind\"] == \"\" and",
        "tests/integration/test_wishes.py::test_what_is_being_bought_is_closed_as_well",
    ),
    "a replaced executor books nothing that it has seen": (
        "bot/execution/reconcile.py", "            control.fence(tx, self.boot_id)\n", "",
        "tests/integration/test_reconcile.py::test_a_replaced_executor_books_nothing",
    ),
    "what has ended is compared no more": (
        "bot/ledger/positions.py", "  WHERE m.condition = position.condition AND m.status = 'ended')",
        "  WHERE m.condition = position.condition AND m.status = 'never')",
        "tests/integration/test_resolution.py::test_what_is_bought_by_hand_before_the_end_is_settled_once",
    ),
    "a close's floor counts from what was last bid": (
        "bot/execution/leave.py", "        price = bid if price is None else price\n        price = 0", "        price = 0",
        "tests/integration/test_wishes.py::test_a_close_does_not_follow_a_collapse_down",
    ),
    "an exit that stands has a cover that a pair of trades leaves alone": (
        "bot/execution/leave.py", "        if before.shares * exposure <= ours * before.leader:", "        if exposure < 0:",
        "tests/integration/test_covers.py::test_a_purchase_and_a_sale_that_overtakes_it_leave_the_proportion",
    ),
    "a wallet's word is about the moment it was asked for": (
        "bot/execution/drive.py", "if whole is None or whole != seen.whole:", "if whole is None:",
        "tests/integration/test_doubt.py::test_a_wallets_word_is_about_the_moment_at_which_it_was_asked_for",
    ),
    "what may have been bought stands in for nothing": (
        "bot/ledger/positions.py", "    if maybe is not None:", "    if maybe is maybe and stuck_us < 0:",
        "tests/integration/test_doubt.py::test_shares_that_were_bought_stand_in_for_none_that_have_gone",
    ),
    "what is asked to go is not sent again": (
        "bot/execution/evidence.py", "        if order.cancel_us is None and not await", "        if not await",
        "tests/integration/test_doubt.py::test_what_is_asked_to_go_is_not_sent_again",
    ),
    "dust keeps no peak": (
        "bot/model/totals.py", "before.counted >= DUST_SHARES else 0", "before.counted > 0 else 0",
        "tests/integration/test_covers.py::test_whoever_left_dust_has_left",
    ),
    "a cancel ends its own order's exit": (
        "bot/execution/leave.py", "        intent = intents.get(tx, order.intent_id)\n", "        intent = intents.open_on(tx, signal.portfolio, signal.token)\n",
        "tests/integration/test_covers.py::test_a_cancel_ends_what_its_order_is_for_and_nothing_that_came_after",
    ),
    'what only repeats takes no transaction': (
        'bot/detect/intake.py', '        rows = [s for s in rows if not self._repeats(s)]\n',
        '',
        'tests/integration/test_detection.py::test_what_only_repeats_what_is_stored_takes_no_transaction',
    ),
    'what waits together is stored together': (
        'bot/detect/rtds.py', 'AT_ONCE = 20',
        'AT_ONCE = 1',
        'tests/integration/test_detection.py::test_what_waits_together_is_stored_together',
    ),
    'a connection that brought nothing was no good': (
        'bot/polymarket/stream.py', 'self.failures = 1 if good else self.failures + 1',
        'self.failures = 1',
        'tests/integration/test_detection.py::test_a_server_that_hangs_up_at_once_is_met_ever_more_seldom',
    ),
    'the first two polls of a life come soon': (
        'bot/detect/heat.py', '            self._set(wallet, now + min(LAG_S, self._pause_s) * jitter)',
        '            self._set(wallet, now + self._pause_s * jitter)',
        'tests/unit/test_heat.py::test_who_is_new_is_polled_at_once_and_again_before_long',
    ),
    "a quiet leader keeps nobody else's trades": (
        'bot/ledger/facts.py', 't.traded_s < c.position_s - :replay',
        't.traded_s < (SELECT MIN(position_s) FROM cursor) - :replay',
        'tests/integration/test_ledger.py::test_pruning_never_forgets_what_could_be_seen_again',
    ),
    'a message is written when it is put': (
        'bot/queue.py', 'if self._sent < self._number - 1 or not self._send(self._number, message):',
        'if self._number:',
        'tests/integration/test_queue.py::test_what_is_put_is_in_the_socket_when_put_returns',
    ),
    "who reads again gets the rest": (
        "bot/queue.py", "not self._send(self._number, message):\n            self._fresh.set()", "not self._send(self._number, message):\n            self._sent = self._number",
        "tests/integration/test_queue.py::test_who_stops_reading_gets_the_rest_when_he_reads_again",
    ),
    'no connection carries more than the exchange tells of': (
        'bot/polymarket/shard.py', 'ROOM = 200',
        'ROOM = 700',
        'tests/integration/test_books.py::test_three_hundred_markets_go_to_several_connections_and_few_requests',
    ),
    'who gives way is unsubscribed': (
        "bot/polymarket/books.py", "saying = [shard.drop(tokens) for shard, tokens in leaving.items()]", "saying = []",
        'tests/integration/test_books.py::test_what_was_watched_longest_ago_gives_way_and_is_unsubscribed',
    ),
    'a lost event is noticed': (
        'bot/polymarket/books.py', 'if levels is None or _agrees(change, levels):',
        'if levels is None or change:',
        'tests/integration/test_books.py::test_a_lost_event_is_noticed_by_the_best_prices_of_the_next',
    ),
    'only what a channel has named is fresh by it': (
        'bot/polymarket/books.py', ' and token in shard.named:',
        ':',
        'tests/integration/test_books.py::test_what_the_channel_has_never_named_is_not_kept_fresh_by_it',
    ),
    'a quiet connection hears a busy token': (
        'bot/polymarket/books.py', '                    await shard.listen_to(busiest)',
        '                    shard.canary = None',
        'tests/integration/test_books.py::test_a_quiet_connection_hears_a_busy_token_so_that_its_silence_means_something',
    ),
    'several books are one request': (
        'bot/polymarket/public.py', 'if len(tokens) == 1:\n            return {tokens[0]: await self.book(tokens[0], now_us=now_us)}',
        'if tokens:\n            return {t: await self.book(t, now_us=now_us) for t in tokens}',
        'tests/integration/test_books.py::test_three_hundred_markets_go_to_several_connections_and_few_requests',
    ),
    "what a forgotten ledger may have copied is not copied again": (
        "bot/ledger/positions.py", "AND f.matched_us >= :since", "AND f.matched_us < 0 AND :since > 0",
        "tests/integration/test_foreign.py::test_what_a_forgotten_ledger_may_have_copied_is_not_copied_again",
    ),
    "what came before is decided before": (
        "bot/ledger/agenda.py", "AND (e.seen_us < s.seen_us OR", "AND (0 OR",
        "tests/integration/test_at_once.py::test_nothing_is_decided_at_once_that_something_comes_before",
    ),
    "an exit is decided before a purchase that rings": (
        "bot/ledger/agenda.py", "AND (e.kind <> 'increase' OR e.portfolio", "AND (0 OR e.portfolio",
        "tests/integration/test_at_once.py::test_nothing_is_decided_at_once_that_something_comes_before",
    ),
    "a purchase that rings waits for the order in flight": (
        "bot/ledger/agenda.py", "s.kind = 'increase' AND NOT {_MOVING}\"\n        \" AND NOT EXISTS", "s.kind = 'increase'\"\n        \" AND NOT EXISTS",
        "tests/integration/test_at_once.py::test_an_order_in_flight_is_waited_for",
    ),
    "what a restored ledger finds waits for its leader": (
        "bot/ledger/agenda.py", "is not SignalKind.CORRECTION or not outdated(tx, signal.wallet)", "is not SignalKind.CORRECTION or signal.wallet",
        "tests/integration/test_reconcile.py::test_what_a_restored_ledger_finds_waits_until_its_leader_is_read_again",
    ),
    "what was found is a part of what he holds": (
        "bot/execution/leave.py", "SignalKind.CORRECTION and (cover is None or cover.leader <= 0)", "SignalKind.CORRECTION and cover is None",
        "tests/integration/test_reconcile.py::test_what_a_restored_ledger_finds_waits_until_its_leader_is_read_again",
    ),
    "a restore outdates its leaders": (
        "bot/ledger/files.py", "DO UPDATE SET updated_us = 0", "DO UPDATE SET updated_us = 1",
        "tests/integration/test_reconcile.py::test_what_a_restored_ledger_finds_waits_until_its_leader_is_read_again",
    ),
    "who is outdated is read again": (
        "bot/detect/activity.py", "        if outdated or asked_s", "        if asked_s",
        "tests/integration/test_detection.py::test_a_leader_who_does_nothing_is_read_again_after_a_restore",
    ),
    "an exit has a floor": (
        "bot/strategy/leave.py", "market.tick), least)\n        return", "market.tick), 0)\n        return",
        "tests/unit/test_leave.py::test_nothing_is_ever_offered_below_its_floor",
    ),
    "an exit needs a book that is not frozen": (
        "bot/strategy/leave.py", "    if now_us - book.seen_us > s.book_max_age_s * MICRO:", "    if now_us < book.seen_us:",
        "tests/unit/test_leave.py::test_an_exit_waits_and_says_for_what",
    ),
    "lookups are stamped with the exchange's time": (
        'bot/execution/evidence.py', ' + min(self._venue.skew_s, 0)',
        '',
        'tests/integration/test_exits.py::test_our_clock_ahead_hides_none_of_our_trades',
    ),
    "gamma's answers are old": (
        "bot/ledger/markets.py", 'late = source == "gamma" and field in ("tick", "accepting")',
        "late = False",
        "tests/integration/test_catalogue.py::"
        "test_newer_words_win_field_by_field_and_gammas_are_older_than_they_say",
    ),
    "a book tells an old tick": (
        "bot/polymarket/public.py", "        if known is not None and shown.tick not in (None, known.tick):",
        "        if known is None:",
        "tests/integration/test_catalogue.py::"
        "test_a_market_in_the_table_is_not_asked_for_and_a_book_shows_an_old_tick",
    ),
    "facts that a book has outdated are asked for again": (
        "bot/execution/look.py", "    return None if found is None else await facts(data, condition)",
        "    return found",
        "tests/integration/test_catalogue.py::"
        "test_a_market_in_the_table_is_not_asked_for_and_a_book_shows_an_old_tick",
    ),
    "stored facts are asked for first": (
        "bot/polymarket/public.py", "        if condition not in self._doubted and (known",
        "        if False and (known",
        "tests/integration/test_catalogue.py::"
        "test_a_market_in_the_table_is_not_asked_for_and_a_book_shows_an_old_tick",
    ),
    "a payout needs two who agree": (
        "bot/polymarket/resolution.py", "            if by_clob == by_gamma:", "            if by_gamma:",
        "tests/integration/test_resolution.py::test_a_market_ends_when_both_say_so",
    ),
    "who waits for the lock does not hold the loop": (
        "bot/ledger/connection.py", '    db.execute("PRAGMA busy_timeout = 0")\n', "    pass\n",
        "tests/integration/test_connection.py::"
        "test_who_has_to_wait_for_the_lock_waits_on_a_thread_and_the_loop_goes_on",
    ),
    "a connection whose thread works is left alone": (
        "bot/ledger/connection.py", "        if self._given != self._ended or began", "        if began",
        "tests/integration/test_connection.py::"
        "test_who_has_to_wait_for_the_lock_waits_on_a_thread_and_the_loop_goes_on",
    ),
    "a connection that is being closed is left alone": (
        "bot/ledger/connection.py", "        self._given += 1  # closed", "        pass  # closed",
        "tests/integration/test_connection.py::"
        "test_nothing_runs_at_once_on_a_connection_that_is_being_closed",
    ),
    "what cannot be named yet is asked for later": (
        "bot/detect/catalogue.py", "            self._later[condition] = (self._now() + int(pause * MICRO), pause)\n",
        "",
        "tests/integration/test_catalogue.py::"
        "test_a_market_that_is_only_named_is_completed_when_lists_know_it",
    ),
    "purchases that wait together are judged together": (
        "bot/execution/loop.py",
        "                ends = await asyncio.gather(*(self._decided(each, stopping) for each in others))",
        "                ends = [await self._decided(each, stopping) for each in others]",
        "tests/integration/test_stories_15_to_17.py::"
        "test_what_is_too_small_alone_is_judged_in_few_transactions",
    ),
    "siblings are of the event that names them": (
        "bot/polymarket/gamma.py", "            part = listing(nested.markets, nested.id)",
        "            part = listing(nested.markets, events[0])",
        "tests/integration/test_catalogue.py::"
        "test_what_gamma_does_not_answer_is_asked_for_again_siblings_too",
    ),
    "what is wanted while Gamma is away is wanted still": (
        "bot/detect/catalogue.py", "                self._wanted |= dict.fromkeys(missing)\n", "",
        "tests/integration/test_catalogue.py::"
        "test_what_gamma_does_not_answer_is_asked_for_again_siblings_too",
    ),
    "tokens told wrong are corrected": (
        "bot/ledger/markets.py", '(source == "clob" or row["neg_risk"] is None)', "False",
        "tests/integration/test_catalogue.py::"
        "test_tokens_that_were_told_wrong_are_corrected_by_who_knows",
    ),
    "trades from before we watch are nobody's": (
        "bot/detect/intake.py", "return known is not None and fill.traded_s >= known[1]", "return known is not None",
        "tests/integration/test_edges.py::test_a_stream_that_replays_is_not_followed_into_the_past",
    ),
    "each connection is a source of its own": (
        "bot/detect/rtds.py", "{self._boot}.{self.stream.epoch}:{kind}", "{self._boot}:{kind}",
        "tests/integration/test_edges.py::test_connections_of_a_stream_are_not_added_up",
    ),
    "a cursor ahead of our clock is not believed": (
        "bot/detect/activity.py", "self._reached.get(wallet, 0)), asked_s)", "self._reached.get(wallet, 0)), 2**40)",
        "tests/integration/test_index.py::test_a_cursor_ahead_of_our_clock_hides_nothing",
    ),
    "an order expires after the lag of lookups": (
        "bot/execution/evidence.py", "elif began >= max(order.deadline_us, landed_by) + lag", "elif began >= max(order.deadline_us, landed_by)",
        "tests/integration/test_edges.py::test_an_order_is_not_given_up_before_lookups_have_had_their_time",
    ),
    "the fee is reserved": (
        "bot/execution/attempt.py", "reserved=amounts.maker_amount + fee if", "reserved=amounts.maker_amount if",
        "tests/integration/test_edges.py::test_the_fee_is_reserved_with_the_price",
    ),
    "a market that hangs holds up its own entries alone": (
        "bot/execution/loop.py", "SIDE_BY_SIDE = 200", "SIDE_BY_SIDE = 1",
        "tests/integration/test_edges.py::test_a_market_that_hangs_holds_up_no_entry_elsewhere",
    ),
    "what is read ahead has a budget of its own": (
        "bot/polymarket/transport.py", "async with self._limits[purpose]:", 'async with self._limits["prefetch"]:',
        "tests/integration/test_clob.py::test_what_is_read_ahead_takes_nothing_from_a_decision",
    ),
    "connections stay warm": (
        "bot/polymarket/transport.py", "keepalive_timeout=KEEP_ALIVE_S", "keepalive_timeout=5",
        "tests/integration/test_clob.py::test_a_connection_outlives_the_pause_between_two_looks_at_the_clock",
    ),
    "what ended markets wish for is over": (
        "bot/ledger/intents.py", "UPDATE intent SET state = 'market_ended'", "UPDATE intent SET state = state",
        "tests/integration/test_stories_1_to_14.py::test_story_9_a_market_that_ends_ends_our_position",
    ),
    "a query reads no table that grows": (
        "bot/ledger/bursts.py", " WHERE i.portfolio = :portfolio AND i.token = :token AND i.burst", " WHERE i.portfolio || '' = :portfolio AND i.token = :token AND i.burst",
        "tests/integration/test_growth.py::test_no_statement_of_a_worker_reads_a_table_that_grows",
    ),
    "nothing rings before recovery": (
        "bot/execution/loop.py", "        await self._recover()\n        self._at_work = stopping\n", "        self._at_work = stopping\n        await self._recover()\n",
        "tests/integration/test_at_once.py::test_nothing_is_decided_before_what_was_left_is_settled",
    ),
    "a failed loop decides nothing": (
        "bot/execution/loop.py", "        finally:\n            self._at_work = None\n", "        finally:\n            pass\n",
        "tests/integration/test_at_once.py::test_a_loop_that_has_failed_decides_nothing_more",
    ),
    "a purchase that rings waits for no look": (
        "bot/execution/loop.py", "if purchase is None or stopping is None or", "if True or stopping is None or",
        "tests/integration/test_at_once.py::test_a_purchase_that_rings_is_decided_though_no_look_comes",
    ),
    "an exit of anybody's is decided before a purchase of its token": (
        "bot/ledger/agenda.py", "AND (e.kind <> 'increase' OR e.portfolio = s.portfolio", "AND e.portfolio = s.portfolio AND (e.kind <> 'increase' OR 1",
        "tests/integration/test_at_once.py::test_an_exit_seen_with_a_purchase_of_its_token_is_decided_first",
    ),
    "what is decided in the last moment is waited for": (
        "bot/execution/loop.py", "while self._tasks and (left", "if self._tasks and (left",
        "tests/integration/test_at_once.py::test_what_is_decided_in_the_last_moment_is_sent",
    ),
    "a position is decided once at a time": (
        "bot/execution/loop.py", "            if position in self._deciding:\n                self._doorbell", "            if position is None:\n                self._doorbell",
        "tests/integration/test_at_once.py::test_no_position_is_decided_twice_at_a_time",
    ),
    "dead markets are given up": (
        "bot/detect/catalogue.py", "if pause > PATIENT_S and condition not in named:", "if False:",
        "tests/integration/test_catalogue.py::test_a_dead_market_that_a_leader_holds_is_not_asked_for_for_ever",
    ),
    "our own markets are not forgotten": (
        "bot/ledger/markets.py", "AND NOT EXISTS ({ours}) ORDER BY", "ORDER BY",
        "tests/integration/test_catalogue.py::test_markets_that_nobody_tells_of_any_more_are_forgotten_but_never_ours",
    ),
    "a loop with a failed task decides nothing": (
        "bot/execution/loop.py", " or self._failure is not None:", ":",
        "tests/integration/test_at_once.py::test_a_loop_that_has_failed_decides_nothing_more",
    ),
    "which connection has what is settled at once": (
        "bot/polymarket/books.py", "            saying.append(shard.add(part))\n", "            await shard.add(part)\n",
        "tests/integration/test_books.py::test_who_is_cancelled_while_he_subscribes_leaves_no_token_behind",
    ),
    "what is held gives way last": (
        "bot/ledger/facts.py", "condition, token, 2 AS weight", "condition, token, 0 AS weight",
        "tests/integration/test_books.py::test_of_too_many_the_last_stay_and_what_is_held_comes_last",
    ),
    "a burst is his: by his own time": (
        "bot/model/burst.py", "for at in (seen_us, traded_us)", "for at in (seen_us,)",
        "tests/unit/test_burst.py::test_a_part_of_it_that_is_seen_late_belongs_to_it_by_his_own_time",
    ),
    "a price is the same within a rounding": (
        "bot/model/burst.py", "SAME_PRICE = 50", "SAME_PRICE = 0",
        "tests/unit/test_burst.py::test_a_price_is_the_same_within_half_of_the_finest_tick",
    ),
    "a budget that is spent ends its order": (
        "bot/execution/fills.py", "if order.side is Side.BUY and spent:", "if False:",
        "tests/integration/test_edges.py::test_an_order_whose_money_is_spent_ends_although_its_answer_was_lost",
    ),
    "what has filled is reserved no more": (
        "bot/ledger/positions.py", "SUM(f.usdc + f.fee) FROM fill f", "0 * SUM(f.usdc + f.fee) FROM fill f",
        "tests/integration/test_edges.py::test_money_that_is_spent_counts_once_against_the_limits",
    ),
    "closed markets have no books": (
        "bot/execution/prefetch.py", "if found is not None and found.accepting:", "if found is not None:",
        "tests/integration/test_books.py::test_no_book_is_kept_ready_of_a_market_that_takes_no_orders",
    ),
    "what waits for the ledger is bounded": (
        "bot/detect/rtds.py", "if len(self._waiting) >= self._most:", "if False:",
        "tests/integration/test_edges.py::test_what_waits_for_a_ledger_that_is_away_is_bounded",
    ),
    "rows that show ten minutes late are read": (
        "bot/detect/activity.py", "reached - self._settings.overlap_s, start", "reached - 120, start",
        "tests/integration/test_index.py::test_a_row_that_shows_ten_minutes_late_is_found",
    ),
    "pairs given back are gone": (
        "bot/detect/activity.py", "if pair.made else (FactKind.MERGE, Side.SELL)", "if pair.made else (FactKind.MERGE, Side.BUY)",
        "tests/integration/test_index.py::test_pairs_made_and_given_back_are_in_what_he_holds",
    ),
    "everybody's resting orders are read": (
        "bot/polymarket/data_api.py", '"taker_only": "false", ', "",
        "tests/integration/test_index.py::test_the_tail_finds_what_nobody_is_asked_about",
    ),
    "an index that stands still is not relied on": (
        "bot/detect/freshness.py", "self.lag_s > BEHIND_S", "self.lag_s > 10**9",
        "tests/integration/test_index.py::test_an_index_that_stands_still_says_so_and_is_not_relied_on",
    ),
    "entries stop where nobody knows": (
        "bot/detect/authority.py", "        if unseen is self._locked:", "        if True:",
        "tests/integration/test_index.py::test_entries_stop_where_nobody_is_heard_who_knows_and_go_on_when_somebody_is",
    ),
    "one source that knows is enough": (
        "bot/detect/authority.py", "unseen = all(", "unseen = any(",
        "tests/integration/test_index.py::test_entries_stop_where_nobody_is_heard_who_knows_and_go_on_when_somebody_is",
    ),
    "a provider that disagrees proves nothing": (
        "bot/detect/balances.py", "        found = {p for p, by in differs.items() if abs(by - again.get(p, 0)) < LEAST}", "        found = set(differs)",
        "tests/integration/test_balances.py::test_a_provider_that_answers_0_for_everything_sells_nothing[a]",
    ),
    "one provider says it twice": (
        "bot/detect/balances.py", "return at < number and abs(by - before) < LEAST", "return True",
        "tests/integration/test_balances.py::test_one_provider_alone_must_say_it_twice",
    ),
    "a balance has the facts up to its block": (
        "bot/detect/intake.py", "            later = facts.since(tx, wallet, token, seen.block, seen.block_s)", "            later = held.shares",
        "tests/integration/test_balances.py::test_story_21_a_list_that_says_0_sells_nothing_until_a_block_agrees",
    ),
    "a list without a block only asks": (
        "bot/detect/holdings.py", "if ok and self._told.get((wallet, s.token)) == s.shares]", "if True]",
        "tests/integration/test_balances.py::test_story_21_a_list_that_says_0_sells_nothing_until_a_block_agrees",
    ),
    "an answer too young says nothing": (
        "bot/detect/holdings.py", "newest_s <= asked_s - SETTLED_S", "True",
        "tests/integration/test_balances.py::test_without_the_chain_the_same_list_twice_long_after_the_last_trade_counts",
    ),
    "what he has moved is still his": (
        "bot/model/totals.py", "    if kind is FactKind.TRANSFER:\n", "    if False:\n",
        "tests/integration/test_balances.py::test_story_23_a_transfer_is_no_sale_and_is_told",
    ),
    "a stream alone counts only where it may": (
        "bot/model/totals.py", "default=(0, 0)) if provisional else (0, 0)", "default=(0, 0))",
        "tests/integration/test_chain_detection.py::test_what_a_stream_alone_has_told_is_stored_and_nothing_is_done",
    ),
    "the chain's last word stands": (
        "bot/model/totals.py", "    if state is FactState.FINAL and CHAIN in totals:\n        return totals[CHAIN]\n", "",
        "tests/unit/test_merge.py",
    ),
    "a fact is in its block's balance": (
        "bot/model/totals.py", "        return block > held.block\n", "        return True\n",
        "tests/unit/test_merge.py",
    ),
    "a row filled twice counts twice": (
        "bot/detect/match.py", "        return found[0] if len(found) == 1 else {}", "        return {}",
        "tests/unit/test_match.py::test_a_row_that_was_filled_twice_counts_twice_once_the_takers_shares_say_so",
    ),
    "what repeats everything proves nothing": (
        "bot/detect/match.py", " or self._rows[taker] > 1", "",
        "tests/unit/test_match.py::test_a_stream_that_repeats_everything_proves_nothing",
    ),
    "an answer too long is asked for in parts": (
        "bot/polymarket/rpc.py", "        except TooMuch as error:\n            raise Refused(", "        except TooMuch as error:\n            raise Unavailable(",
        "tests/integration/test_rpc.py::test_an_answer_that_is_too_long_is_a_reason_to_ask_for_less",
    ),
    "a provider's error ends nobody's work": (
        "bot/detect/chain.py", "except (Unavailable, Refused) as error:\n                logger.warning(\"chain.unavailable\"", "except Unavailable as error:\n                logger.warning(\"chain.unavailable\"",
        "tests/integration/test_chain_detection.py::test_a_provider_that_answers_with_errors_ends_nobody_elses_work",
    ),
    "too often is not too much": (
        "bot/polymarket/rpc.py", "Unavailable if _EXHAUSTED.search(said) else Refused", "Refused",
        "tests/integration/test_chain_source.py::test_a_provider_that_was_asked_too_often_is_not_asked_for_less",
    ),
    "balances wait for who is read last": (
        "bot/detect/balances.py", "number = min(provider.final, self._final())", "number = provider.final",
        "tests/integration/test_balances.py::test_a_transfer_that_a_slower_provider_has_still_to_show_is_no_sale",
    ),
    "a final word gives way to its own correction alone": (
        "bot/detect/fold.py", "FINAL or sight.corrects\n", "FINAL or sight.state is FactState.FINAL\n",
        "tests/unit/test_fold.py::test_a_final_word_gives_way_to_its_own_correction_and_to_no_other",
    ),
    "a fill told under two hashes counts once before a block has it": (
        "bot/detect/fold.py", "                trade.target = (0, 0)\n", "                pass\n",
        "tests/integration/test_stories_18_to_20.py"
        "::test_story_20_one_fill_under_two_hashes_is_one",
    ),
    "what a block has was told of under another hash": (
        "bot/detect/fold.py", "elif twin.state is FactState.PROVISIONAL:", "elif False:",
        "tests/integration/test_stories_18_to_20.py"
        "::test_story_20_one_fill_under_two_hashes_is_one",
    ),
    "twins that are both in blocks are two": (
        "bot/detect/fold.py", "elif twin.state is FactState.PROVISIONAL:", "elif True:",
        "tests/integration/test_stories_18_to_20.py::test_story_20_twins_that_are_both_mined_are_two",
    ),
    "who has not seen a block reverts nothing in it": (
        "bot/model/totals.py", "before in (FactState.MINED, FactState.FINAL):", "before in ():",
        "tests/unit/test_fold.py::test_who_has_not_seen_its_block_reverts_nothing_that_is_in_one",
    ),
    "a provider that stands still is not heard": (
        "bot/detect/reader.py", "            if last >= (provider.next or 0):\n", "            if True:\n",
        "tests/integration/test_chain_source.py::test_a_provider_that_answers_and_stands_still_is_not_heard",
    ),
    "an unreadable row is not 0": (
        "bot/detect/holdings.py", "held.keys() if answer.refused else held.keys() | known.keys()", "held.keys() | known.keys()",
        "tests/integration/test_balances.py::test_what_a_list_with_unreadable_rows_leaves_out_is_not_gone",
    ),
    "what is not final is not forgotten": (
        "bot/detect/blocks.py", " and name in self._final:", ":",
        "tests/unit/test_blocks.py::test_what_is_final_is_forgotten_and_what_is_not_is_kept_for_hours",
    ),
    "a block that others replace takes its logs along": (
        "bot/detect/blocks.py", "{b.hash for b in lost} | beside - {block.hash}", "{b.hash for b in lost}",
        "tests/unit/test_blocks.py::test_a_block_that_is_known_by_its_logs_alone_is_out_once_another_has_its_number",
    ),
    "another life's facts are looked up": (
        "bot/detect/chain.py", "fills += [fill for fill in old if fill.tx not in self._looked]", "fills += []",
        "tests/integration/test_chain_detection.py::test_a_fact_of_an_earlier_life_whose_block_is_gone_is_found_out",
    ),
    "the other outcome counts": (
        "bot/detect/intake.py", "dict.fromkeys([*by, *(token for token, _ in known)])", "dict.fromkeys([*by])",
        "tests/integration/test_balances.py::test_whoever_gets_the_other_outcome_holds_less_of_ours",
    ),
    "a match on an unknown exchange is no transfer": (
        "bot/detect/chain.py", "            if transfer and chain.is_match(receipt.logs):", "            if False:",
        "tests/integration/test_chain_detection.py::test_a_trade_on_an_exchange_that_nobody_knows_is_no_transfer",
    ),
    "an error in HTTP 400 is an answer": (
        "bot/polymarket/rpc.py", "answer = _refusal(reply) or accepted(", "answer = accepted(",
        "tests/integration/test_chain_source.py::test_a_provider_that_takes_little_is_asked_for_little",
    ),
    "who tells no balances leaves it to others": (
        "bot/detect/balances.py", "            if other is first:\n                continue\n            try:\n", "            if other is first:\n                continue\n            if True:\n                return set()\n            try:\n",
        "tests/integration/test_balances.py::test_a_provider_that_tells_no_balances_leaves_it_to_the_others",
    ),
    "what he still holds is followed": (
        "bot/execution/leave.py", "            if exposure >= DUST_SHARES:", "            if False:",
        "tests/integration/test_stories_18_to_20.py::test_story_18_kept_where_he_still_holds_some_all_of_ours_follows_that",
    ),
    "a log's time is of when it was told": (
        "bot/detect/chain.py", "replace(d, at_s=now // MICRO) for d in told]", "d for d in told]",
        "tests/integration/test_chain_detection.py::test_a_log_without_a_time_is_of_when_it_was_told",
    ),
    "pairs go no way": (
        "bot/ledger/facts.py", "\n        \" AND kind = 'trade'\",", "\n        \"\",",
        "tests/integration/test_index.py::test_pairs_are_no_trades_both_ways",
    ),
    "much is stored in parts": (
        "bot/detect/intake.py", "AT_ONCE = 50", "AT_ONCE = 10_000",
        "tests/integration/test_index.py::test_a_long_answer_is_stored_in_parts_and_its_cursor_with_the_last",
    ),
    "the operator's word goes before the configuration": (
        "bot/ledger/roster.py", "(said = 'follow' OR said IS NULL AND listed = 1)", "(listed = 1)",
        "tests/integration/test_roster.py::test_what_an_operator_has_said_outlives_a_restart",
    ),
    "nobody follows himself": (
        "bot/ledger/roster.py", " AND NOT {_OURS})", ")",
        "tests/integration/test_roster.py::test_nobody_follows_himself",
    ),
    "who is muted gives no entry": (
        "bot/ledger/roster.py", "Word.MUTE if row", "Word.FOLLOW if row",
        "tests/integration/test_roster.py::test_who_is_muted_is_watched_and_followed_out",
    ),
    "who is followed from now on is watched from now on": (
        "bot/detect/roster.py", "        wallets = await self._intake.load()\n", "        wallets = self._intake.wallets()\n",
        "tests/integration/test_roster.py::test_who_is_new_is_followed_without_a_restart",
    ),
    "a report is signed": (
        "bot/detect/hook.py", "if not hmac.compare_digest(expected.encode(), given):", "if False:",
        "tests/integration/test_hook.py::test_what_nobody_has_signed_or_what_comes_again_is_refused",
    ),
    "a report is taken once": (
        "bot/detect/hook.py", "        self._taken[proof] = True\n", "",
        "tests/integration/test_hook.py::test_what_nobody_has_signed_or_what_comes_again_is_refused",
    ),
    "a clock that leaps back lets no report in twice": (
        "bot/detect/hook.py", "max(self._now() // MICRO, self._latest_s)", "self._now() // MICRO",
        "tests/integration/test_hook.py::test_none_is_taken_twice_where_our_clock_leaps_back",
    ),
    "who reports what never was is not believed": (
        "bot/detect/health.py", "EARLY = (STREAM, HOOK)", "EARLY = (STREAM,)",
        "tests/integration/test_hook.py::test_who_reports_what_never_was_is_not_acted_on",
    ),
    "a busy chain is read a few blocks at a time": (
        "bot/detect/reader.py", "        if logs > MOST_LOGS:\n", "        if False:\n",
        "tests/unit/test_reader.py::test_who_brings_much_is_asked_for_few_blocks",
    ),
}  # fmt: skip
