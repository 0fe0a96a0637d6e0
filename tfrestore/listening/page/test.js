/* The listening test: what the listener sees, hears and answers, and the results file made of it.
   Needs nothing but this folder; also runs when index.html is opened as a file. */
(() => {
  "use strict";

  const configuration = JSON.parse(document.getElementById("configuration").textContent);
  const isMushra = configuration.mode === "mushra";
  const storageName = `tfrestore-listening-test-${configuration.page}`;
  // Every version, and the reference, has to be heard for so long before a page can be left.
  const leastSeconds = Math.min(1, configuration.seconds);
  const fadeSeconds = 0.005;
  const byId = (id) => document.getElementById(id);

  /** Sets a text only where it changes: screen readers read every change aloud. */
  function tell(id, text) {
    if (byId(id).textContent !== text) byId(id).textContent = text;
  }

  const audioPath = (name) => `audio/${name}.flac`;

  // ---------------------------------------------------------------- what is remembered

  /** Numbers from 0 to 1 that the seed alone decides (mulberry32). */
  function randomNumbers(seed) {
    let state = seed >>> 0;
    return () => {
      state = (state + 0x6d2b79f5) >>> 0;
      let mixed = Math.imul(state ^ (state >>> 15), state | 1);
      mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
      return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
    };
  }

  function shuffled(values, random) {
    const result = [...values];
    for (let last = result.length - 1; last > 0; last--) {
      const other = Math.floor(random() * (last + 1));
      [result[last], result[other]] = [result[other], result[last]];
    }
    return result;
  }

  /** The pages in a listener's own order; in a MOS test one signal each. */
  function makePages(seed) {
    const random = randomNumbers(seed);
    const trials = configuration.trials;
    if (isMushra) {
      return shuffled(trials, random).map((trial) => ({
        trial: trial.id,
        reference: trial.reference,
        signals: shuffled(trial.signals, random),
      }));
    }
    const all = trials.flatMap((trial) => trial.signals);
    return shuffled(all, random).map((signal) => ({ signals: [signal] }));
  }

  function newState() {
    const words = crypto.getRandomValues(new Uint32Array(5));
    const asked = new URLSearchParams(location.search).get("listener") || "";
    return {
      session: Array.from(words.slice(0, 4), (word) => word.toString(16).padStart(8, "0")).join(""),
      seed: words[4],
      listener: asked.slice(0, 80),
      screen: "start",
      position: 0,
      started: null,
      finished: null,
      sent: false,
      answers: {},
      heard: {},
    };
  }

  function loadState() {
    try {
      const stored = JSON.parse(localStorage.getItem(storageName));
      if (stored && stored.session && stored.answers && stored.heard) return stored;
    } catch {
      // No storage, or not ours: a new test begins.
    }
    return null;
  }

  function save() {
    try {
      localStorage.setItem(storageName, JSON.stringify(state));
    } catch {
      // Without storage the test goes on; it cannot be resumed.
    }
  }

  const stored = loadState();
  let state = stored || newState();
  let pages = makePages(state.seed);

  const page = () => pages[state.position];
  const heardSeconds = (name) => (state.heard[name] || { seconds: 0 }).seconds;
  const heardWhole = (name) => Boolean((state.heard[name] || {}).whole);

  function noteHeard(name, seconds, whole = false) {
    const heard = (state.heard[name] ||= { seconds: 0, whole: false });
    heard.seconds += seconds;
    heard.whole ||= whole;
  }

  function rate(name, rating) {
    state.answers[name] = { rating, time: new Date().toISOString() };
    state.sent = false;
    save();
  }

  const isRated = (name) => name in state.answers;
  const isAnswered = (each) => each.signals.every(isRated);

  // ---------------------------------------------------------------- players

  function tellProblem(text) {
    byId("problem").textContent = text;
    byId("problem").hidden = !text;
  }

  const cannotLoad =
    "This piece could not be loaded. Please check your connection and press Play again.";

  /** Plays files with the browser's own elements, one at a time. */
  class FilePlayer {
    static elements = new Map();

    constructor(names, loop) {
      this.names = names;
      this.loop = loop;
      this.current = null;
      this.playing = false;
      this.onEnd = () => {};
    }

    /** Has the elements of these names ready, and gives up all others. */
    static keep(names) {
      for (const [name, element] of FilePlayer.elements) {
        if (names.includes(name)) continue;
        element.pause();
        element.remove();
        element.removeAttribute("src");
        element.load();
        FilePlayer.elements.delete(name);
      }
      for (const name of names) {
        if (FilePlayer.elements.has(name)) continue;
        const element = document.createElement("audio");
        element.preload = "auto";
        element.src = audioPath(name);
        document.body.append(element);
        FilePlayer.elements.set(name, element);
      }
    }

    get element() {
      return FilePlayer.elements.get(this.current);
    }

    get position() {
      return this.element?.currentTime ?? 0;
    }

    async play() {
      FilePlayer.keep([...new Set([...FilePlayer.elements.keys(), ...this.names])]);
      const element = this.element;
      element.loop = this.loop;
      element.onended = () => {
        this.playing = false;
        this.onEnd(this.current);
      };
      // An element that failed to load stays so until told to try again.
      if (element.error) element.load();
      this.playing = true;
      try {
        await element.play();
      } catch (error) {
        if (error.name === "AbortError") return;
        this.playing = false;
        throw error;
      }
    }

    async select(name) {
      if (name === this.current) return;
      const before = this.current ? this.element : null;
      const position = before ? before.currentTime : 0;
      if (before) before.pause();
      this.current = name;
      if (!FilePlayer.elements.has(name)) FilePlayer.keep([...FilePlayer.elements.keys(), name]);
      this.element.currentTime = position;
      if (this.playing) await this.play();
    }

    pause() {
      this.playing = false;
      this.element?.pause();
    }

    close() {
      this.pause();
    }
  }

  /** Plays all signals of a page in step and lets one through, so that switching leaves no gap. */
  class BufferPlayer {
    static context = null;

    constructor(names) {
      this.names = names;
      this.current = null;
      this.playing = false;
      this.voices = new Map();
      this.offset = 0;
      this.free = 0;
      this.onEnd = () => {};
      this.bytes = null;
      this.fetchAll().catch(() => {});
    }

    /** Raised cosine from 0 to 1, as ITU-R BS.1534-3 has it for switching. */
    static rise = Float32Array.from({ length: 33 }, (_, n) => 0.5 - 0.5 * Math.cos((Math.PI * n) / 32));
    static fall = BufferPlayer.rise.slice().reverse();

    fetchAll() {
      this.bytes ||= Promise.all(
        this.names.map(async (name) => {
          const response = await fetch(audioPath(name));
          if (!response.ok) throw new Error(`${response.status}`);
          return response.arrayBuffer();
        }),
      ).catch((error) => {
        this.bytes = null;
        throw error;
      });
      return this.bytes;
    }

    async prepare() {
      const context = (BufferPlayer.context ||= new AudioContext());
      await context.resume();
      if (!this.buffers) {
        const bytes = await this.fetchAll();
        const decoded = await Promise.all(
          bytes.map((each) => context.decodeAudioData(each.slice(0))),
        );
        this.buffers = new Map(this.names.map((name, place) => [name, decoded[place]]));
      }
      return context;
    }

    get duration() {
      return this.buffers.values().next().value.duration;
    }

    get position() {
      if (!this.playing || !this.voices.size) return this.offset;
      const since = Math.max(0, BufferPlayer.context.currentTime - this.startedAt);
      return (this.offset + since) % this.duration;
    }

    async play() {
      if (this.playing) return;
      this.playing = true;
      try {
        const context = await this.prepare();
        if (!this.playing || this.voices.size) return;
        this.startedAt = context.currentTime + 0.02;
        for (const [name, buffer] of this.buffers) {
          const source = new AudioBufferSourceNode(context, { buffer, loop: true });
          const gain = new GainNode(context, { gain: 0 });
          source.connect(gain).connect(context.destination);
          source.start(this.startedAt, this.offset);
          this.voices.set(name, { source, gain });
        }
        this.free = this.startedAt;
        this.fade(this.current, BufferPlayer.rise);
      } catch (error) {
        this.playing = false;
        throw error;
      }
    }

    /** Fades a voice after whatever is fading, so that no two are heard at once. */
    fade(name, curve) {
      const voice = this.voices.get(name);
      if (!voice) return;
      const time = Math.max(this.free, BufferPlayer.context.currentTime + 0.001);
      voice.gain.gain.setValueCurveAtTime(curve, time, fadeSeconds);
      this.free = time + fadeSeconds + 0.001;
    }

    async select(name) {
      if (name === this.current) return;
      this.fade(this.current, BufferPlayer.fall);
      this.current = name;
      this.fade(name, BufferPlayer.rise);
    }

    pause() {
      if (!this.playing) return;
      this.offset = this.buffers ? this.position : 0;
      this.playing = false;
      this.fade(this.current, BufferPlayer.fall);
      for (const { source } of this.voices.values()) source.stop(this.free);
      this.voices.clear();
    }

    close() {
      this.pause();
    }
  }

  // ---------------------------------------------------------------- playing

  let player = null;
  let lastTick = performance.now();

  function openPlayer(next) {
    if (player) player.close();
    player = next;
    drawPlayer();
  }

  const playButtons = { volume: "volume-play", mos: "mos-play", mushra: "mushra-play" };

  function drawPlayer() {
    const button = byId(playButtons[state.screen]);
    if (!button || !player) return;
    button.querySelector(".label").textContent = player.playing ? "Pause" : "Play";
    button.classList.toggle("playing", player.playing);
    const share = Math.min(1, player.position / configuration.seconds);
    byId(`${state.screen}-position`).style.width = `${(100 * share).toFixed(1)}%`;
  }

  async function play() {
    tellProblem("");
    const mine = player;
    try {
      const started = mine.play();
      drawPlayer();
      await started;
    } catch (error) {
      // A browser that wants a click first shows the Play button, and that is all there is to say.
      if (error.name !== "NotAllowedError" && mine === player) tellProblem(cannotLoad);
    }
    drawPlayer();
  }

  function pause() {
    player.pause();
    save();
    drawPlayer();
  }

  const toggle = () => (player.playing ? pause() : start());

  function start() {
    if (state.screen === "mushra" && !player.current) return listenTo(page().reference);
    return play();
  }

  setInterval(() => {
    const now = performance.now();
    const passed = (now - lastTick) / 1000;
    lastTick = now;
    if (!player || !player.playing || player.position === 0) return;
    if (state.screen === "mos" || state.screen === "mushra") noteHeard(player.current, passed);
    drawPlayer();
    if (state.screen === "mushra") drawMushra();
  }, 100);

  // ---------------------------------------------------------------- screens

  const screens = ["start", "volume", "mos", "mushra", "finish"];

  function show(screen, { focus = true } = {}) {
    state.screen = screen;
    tellProblem("");
    for (const each of screens) byId(each).hidden = each !== screen;
    save();
    drawProgress();
    if (focus) {
      window.scrollTo(0, 0);
      byId(`${screen}-heading`).focus({ preventScroll: true });
    }
  }

  function drawProgress() {
    const inTest = state.screen === "mos" || state.screen === "mushra";
    byId("progress").hidden = !inTest;
    const done = pages.filter(isAnswered).length;
    byId("progress-bar").max = pages.length;
    byId("progress-bar").value = done;
    byId("progress-text").textContent = `${done} of ${pages.length} answered`;
  }

  function showStart(options) {
    openPlayer(null);
    const listening = isMushra
      ? configuration.trials.reduce((sum, trial) => sum + 2 * trial.signals.length, 0)
      : pages.length;
    const minutes = Math.ceil((listening * (configuration.seconds + 4)) / 60);
    const facts = {
      count: pages.length,
      seconds: configuration.seconds,
      minutes: minutes === 1 ? "1 minute" : `${minutes} minutes`,
    };
    for (const each of document.querySelectorAll("[data-fill]")) {
      each.textContent = facts[each.dataset.fill];
    }
    const what =
      "your answers, when you gave them, how long you listened, the name below, and which browser you use";
    byId("privacy").textContent = configuration.post_url
      ? `At the end this page sends ${what}; nothing else.`
      : `At the end you can save a file with ${what}; this page sends nothing anywhere.`;
    byId("listener").value = state.listener;
    show("start", options);
  }

  function showVolume(options) {
    openPlayer(new FilePlayer([configuration.volume_check], true));
    FilePlayer.keep([configuration.volume_check]);
    player.select(configuration.volume_check);
    show("volume", options);
    drawPlayer();
  }

  function showPage(position, { focus = true, playing = false } = {}) {
    state.position = Math.max(0, Math.min(pages.length - 1, position));
    const name = isMushra ? "mushra" : "mos";
    byId(`${name}-heading`).textContent = `Piece ${state.position + 1} of ${pages.length}`;
    byId(`${name}-previous`).disabled = state.position === 0;
    byId(`${name}-next`).textContent = state.position === pages.length - 1 ? "Finish" : "Next";
    tell(`${name}-status`, "");
    state.screen = name;
    if (isMushra) openMushra();
    else openMos();
    show(name, { focus });
    drawPlayer();
    if (playing) play();
  }

  const showTest = (options) => showPage(state.position, options);

  /** What a listener still has to do on a page, as a sentence; empty when all is done. */
  function stillToDo() {
    if (!isMushra) {
      const [name] = page().signals;
      if (isRated(name)) return "";
      return heardWhole(name)
        ? "Please choose one of the five answers."
        : "Please listen to the end first, then answer.";
    }
    const names = [page().reference, ...page().signals];
    const unheard = names.filter((name) => heardSeconds(name) < leastSeconds).map(labelOf);
    if (unheard.length) return `Please listen to: ${unheard.join(", ")}.`;
    const unrated = page().signals.filter((name) => !isRated(name)).map(labelOf);
    return unrated.length ? `Please rate: ${unrated.join(", ")}.` : "";
  }

  function goOn() {
    const missing = stillToDo();
    if (missing) {
      tell(`${state.screen}-status`, missing);
      return;
    }
    if (state.position < pages.length - 1) {
      showPage(state.position + 1, { playing: !isMushra });
      return;
    }
    const open = pages.findIndex((each) => !isAnswered(each));
    if (open >= 0) showPage(open);
    else finish();
  }

  function goBack() {
    if (state.position > 0) showPage(state.position - 1);
  }

  // ---------------------------------------------------------------- MOS

  function makeLevels() {
    byId("levels").replaceChildren(
      ...configuration.scale.map((word, place) => {
        const button = document.createElement("button");
        button.type = "button";
        button.className = "level";
        button.innerHTML = `<b>${place + 1}</b> <span></span>`;
        button.querySelector("span").textContent = word;
        button.addEventListener("click", () => answer(place + 1));
        return button;
      }),
    );
  }

  function openMos() {
    const [name] = page().signals;
    const next = pages[state.position + 1];
    openPlayer(new FilePlayer([name], false));
    // The next one is fetched while this one is heard.
    FilePlayer.keep(next ? [name, ...next.signals] : [name]);
    player.select(name);
    player.onEnd = (ended) => {
      noteHeard(ended, 0, true);
      save();
      drawMos();
      drawPlayer();
    };
    drawMos();
  }

  function drawMos() {
    const [name] = page().signals;
    const chosen = (state.answers[name] || {}).rating;
    const open = heardWhole(name);
    [...byId("levels").children].forEach((button, place) => {
      button.setAttribute("aria-pressed", String(chosen === place + 1));
      button.setAttribute("aria-disabled", String(!open));
    });
    byId("mos-next").setAttribute("aria-disabled", String(Boolean(stillToDo())));
    if (!open) tell("mos-status", "You can answer once you have heard it to the end.");
    else if (!chosen) tell("mos-status", "Now choose an answer.");
    else tell("mos-status", `Your answer: ${configuration.scale[chosen - 1]}.`);
  }

  function answer(rating) {
    const [name] = page().signals;
    if (!heardWhole(name)) {
      tell("mos-status", "Please listen to the end first, then answer.");
      return;
    }
    rate(name, rating);
    drawMos();
    drawProgress();
  }

  // ---------------------------------------------------------------- MUSHRA

  const letterOf = (place) => String.fromCharCode(65 + place);

  function labelOf(name) {
    return name === page().reference ? "Reference" : letterOf(page().signals.indexOf(name));
  }

  function makeBands() {
    byId("bands").replaceChildren(
      ...configuration.scale.map((word) => {
        const band = document.createElement("span");
        band.textContent = word;
        return band;
      }),
    );
  }

  const bandOf = (rating) => configuration.scale[Math.min(4, Math.floor(rating / 20))];

  function openMushra() {
    const names = [page().reference, ...page().signals];
    // Files opened from a disk cannot be read as a whole; elements can play them, with a short gap.
    openPlayer(location.protocol === "file:" ? new FilePlayer(names, true) : new BufferPlayer(names));
    FilePlayer.keep([]);
    byId("signals").replaceChildren(
      ...page().signals.map((name, place) => {
        const row = document.createElement("div");
        row.className = "row";
        row.innerHTML =
          '<button class="signal" type="button" aria-pressed="false"></button>' +
          '<input type="range" min="0" max="100" step="1" value="50"><output></output>';
        const [button, slider, value] = row.children;
        button.textContent = letterOf(place);
        button.setAttribute("aria-label", `Listen to ${letterOf(place)}`);
        slider.setAttribute("aria-label", `Rating of ${letterOf(place)}`);
        value.setAttribute("aria-hidden", "true");
        slider.addEventListener("input", () => rateSlider(name, slider));
        // A press that leaves the slider where it is means that value, too.
        slider.addEventListener("pointerup", () => {
          rateSlider(name, slider);
          slider.blur();
        });
        row.addEventListener("click", () => {
          if (player.current !== name || !player.playing) listenTo(name);
        });
        return row;
      }),
    );
    drawMushra();
  }

  function rateSlider(name, slider) {
    rate(name, Number(slider.value));
    drawMushra();
    drawProgress();
  }

  async function listenTo(name) {
    const mine = player;
    tell("mushra-status", "");
    try {
      await mine.select(name);
    } catch {
      tellProblem(cannotLoad);
    }
    if (mine === player && !mine.playing) play();
    drawMushra();
    save();
  }

  function drawMushra() {
    const current = player.current;
    const isReference = current === page().reference;
    byId("reference").setAttribute("aria-pressed", String(isReference));
    byId("reference").classList.toggle("heard", heardSeconds(page().reference) >= leastSeconds);
    [...byId("signals").children].forEach((row, place) => {
      const name = page().signals[place];
      const [button, slider, value] = row.children;
      const rating = (state.answers[name] || {}).rating;
      row.classList.toggle("current", name === current);
      row.classList.toggle("rated", rating !== undefined);
      button.setAttribute("aria-pressed", String(name === current));
      button.classList.toggle("heard", heardSeconds(name) >= leastSeconds);
      // ITU-R BS.1534-3: only the score of what is being listened to can be moved.
      slider.disabled = name !== current;
      if (rating !== undefined) slider.value = rating;
      slider.setAttribute(
        "aria-valuetext",
        rating === undefined ? "not rated yet" : `${rating}, ${bandOf(rating)}`,
      );
      value.textContent = rating === undefined ? "–" : rating;
    });
    const missing = stillToDo();
    byId("mushra-next").setAttribute("aria-disabled", String(Boolean(missing)));
    if (!current) tell("mushra-status", "Play the reference, then switch between it and the letters.");
    else if (!missing) tell("mushra-status", "All done here: you can go on, or listen again.");
  }

  function moveSlider(change) {
    const place = page().signals.indexOf(player.current);
    if (place < 0) return;
    const slider = byId("signals").children[place].querySelector("input");
    slider.value = Number(slider.value) + change;
    rateSlider(player.current, slider);
  }

  // ---------------------------------------------------------------- the end

  function makeResults() {
    const ratings = pages.flatMap((each) =>
      each.signals.filter(isRated).map((name) => ({
        item: name,
        ...state.answers[name],
        seconds: Math.round(10 * heardSeconds(name)) / 10,
      })),
    );
    return {
      format: "tfrestore-listening-test-results",
      version: 1,
      page: configuration.page,
      mode: configuration.mode,
      session: state.session,
      listener: state.listener,
      seed: state.seed,
      order: isMushra
        ? pages.map((each) => ({ trial: each.trial, signals: each.signals }))
        : pages.map((each) => each.signals[0]),
      started: state.started,
      finished: state.finished,
      user_agent: navigator.userAgent,
      ratings,
      key: configuration.key,
    };
  }

  function finish() {
    state.finished = new Date().toISOString();
    state.sent = false;
    showFinish();
  }

  function showFinish(options) {
    openPlayer(null);
    FilePlayer.keep([]);
    const posts = Boolean(configuration.post_url);
    byId("send").hidden = true;
    byId("download").classList.toggle("primary", !posts);
    byId("finish-status").hidden = true;
    byId("finish-text").textContent = posts
      ? "Your answers go to whoever asked you to take part."
      : "Please download your answers and give the file to whoever asked you to take part.";
    show("finish", options);
    if (posts && state.sent) tellSending("Your answers have been sent.", "good");
    else if (posts) send();
  }

  function tellSending(text, kind) {
    const status = byId("finish-status");
    status.textContent = text;
    status.className = `notice ${kind}`;
    status.hidden = false;
  }

  async function send() {
    byId("send").hidden = true;
    tellSending("Sending your answers …", "");
    let reason = "no connection";
    try {
      const response = await fetch(configuration.post_url, {
        method: "POST",
        headers: { "Content-Type": "application/json" },
        body: JSON.stringify(makeResults()),
      });
      if (response.ok) {
        state.sent = true;
        save();
        tellSending("Your answers have been sent.", "good");
        return;
      }
      reason = `the server answered ${response.status}`;
    } catch {
      // The reason stays "no connection": browsers tell a page no more than that.
    }
    tellSending(
      `Your answers could not be sent (${reason}). Please try again, or download them and give the ` +
        "file to whoever asked you to take part.",
      "bad",
    );
    byId("send").hidden = false;
    byId("download").classList.add("primary");
  }

  function download() {
    const text = JSON.stringify(makeResults(), null, 1);
    const link = document.createElement("a");
    link.href = URL.createObjectURL(new Blob([text], { type: "application/json" }));
    link.download = `listening-test-${configuration.page}-${state.session.slice(0, 8)}.json`;
    document.body.append(link);
    link.click();
    link.remove();
    setTimeout(() => URL.revokeObjectURL(link.href), 60000);
    tellSending("The file is in your downloads. Your answers stay here until you begin anew.", "good");
  }

  function restart() {
    if (!confirm("Begin anew? The answers in this browser are forgotten.")) return;
    state = newState();
    state.listener = "";
    pages = makePages(state.seed);
    showStart();
  }

  // ---------------------------------------------------------------- hands

  function onKey(event) {
    const typing = event.target instanceof HTMLInputElement && event.target.type === "text";
    if (typing || event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.repeat && event.key === " ") event.preventDefault();
    else if (takesKey(event.key, event.target)) event.preventDefault();
  }

  /** Does what a key stands for, and says whether it stands for anything. */
  function takesKey(key, target) {
    const onSlider = target instanceof HTMLInputElement;
    if (key === " ") {
      // A button that was reached with the Tab key keeps what Space means there.
      if (!player || target instanceof HTMLButtonElement) return false;
      toggle();
    } else if (state.screen !== "mos" && state.screen !== "mushra") return false;
    else if (key === "ArrowRight" && !onSlider) goOn();
    else if (key === "ArrowLeft" && !onSlider) goBack();
    else if (isMushra) return takesMushraKey(key, onSlider);
    else if (/^[1-5]$/.test(key)) answer(Number(key));
    else return false;
    return true;
  }

  function takesMushraKey(key, onSlider) {
    const signals = page().signals;
    const letter = /^[a-z]$/i.test(key) ? key.toUpperCase().charCodeAt(0) - 65 : -1;
    const place = /^[1-9]$/.test(key) ? Number(key) - 1 : letter;
    const steps = { ArrowUp: 1, ArrowDown: -1, PageUp: 10, PageDown: -10 };
    if (key === "0") listenTo(page().reference);
    else if (place >= 0 && place < signals.length) listenTo(signals[place]);
    else if (key in steps && !onSlider) moveSlider(steps[key]);
    else return false;
    return true;
  }

  document.addEventListener("keydown", onKey);
  // After a click or a touch the keys belong to the page again, not to the button.
  document.addEventListener("click", (event) => {
    const button = event.target.closest("button");
    if (button && event.detail > 0) button.blur();
  });
  window.addEventListener("pagehide", save);

  byId("listener-form").addEventListener("submit", (event) => {
    event.preventDefault();
    state.listener = byId("listener").value.trim();
    state.started ||= new Date().toISOString();
    showVolume();
  });
  for (const id of Object.values(playButtons)) byId(id).addEventListener("click", toggle);
  byId("volume-back").addEventListener("click", () => showStart());
  byId("volume-next").addEventListener("click", () => showPage(state.position, { playing: !isMushra }));
  byId("reference").addEventListener("click", () => listenTo(page().reference));
  for (const name of ["mos", "mushra"]) {
    byId(`${name}-previous`).addEventListener("click", goBack);
    byId(`${name}-next`).addEventListener("click", goOn);
  }
  byId("send").addEventListener("click", send);
  byId("download").addEventListener("click", download);
  byId("review").addEventListener("click", () => showPage(0));
  byId("restart").addEventListener("click", restart);

  // ---------------------------------------------------------------- the beginning

  document.body.dataset.mode = configuration.mode;
  makeLevels();
  makeBands();
  const first = { start: showStart, volume: showVolume, mos: showTest, mushra: showTest, finish: showFinish };
  (first[state.screen] || showStart)({ focus: false });
  if (stored && (state.screen === "mos" || state.screen === "mushra")) {
    tell(`${state.screen}-status`, "Welcome back: you are where you left off.");
  }
  if (!document.createElement("audio").canPlayType("audio/flac")) {
    tellProblem("This browser cannot play the sounds (FLAC). Please use a current Firefox, Chrome, Edge or Safari.");
  }
})();
