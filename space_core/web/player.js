// Players of films, one in each element that has a video and a link for the download. A player plays a film while it is
// drawn, from a stream (fragmented MP4, Media Source Extensions), goes on with it to its end, and afterwards holds the
// finished film at the same place. iPhones have managed media sources, or (before iOS 17.1) none and play HTTP Live
// Streaming themselves.
window.spacePlayers = {};  // by the selector of the element
window.spacePlayer = (selector) => spacePlayers[selector] ??= (() => {
  const MIME = 'video/mp4; codecs="avc1.64001F, mp4a.40.2"';
  const HLS = 'application/vnd.apple.mpegurl';
  const Source = window.MediaSource || window.ManagedMediaSource;
  const isManaged = !window.MediaSource;  // the browser removes what it likes of what has come
  const LEAST_LEAD = 0.35;  // seconds of film between what is shown and what has come, before it plays
  const KEPT = 20;  // seconds that stay in memory behind what is shown, when the memory is full
  const WAITING = 'The video will play here.', MAKING = 'The video is being made.', READY = 'The video is ready.';
  const EXAMPLE = 'An example. Choose another emotion or give your own photo or speech, then press “Animate”.';
  const GONE = 'This video is no longer there.';
  const films = [];  // those that were made here, finished: {address, summary}
  let newest = null;  // the address of the last one, whose summary Gradio shows
  let shown = null;  // the address of the finished film that is shown, or that a stream is of
  let isMaking = false;
  let film = null;  // the stream that is shown: {abort, seconds, begun, received, isWhole, finished}

  const video = () => document.querySelector(`${selector} video`);
  const download = () => document.querySelector(`${selector} a[download]`);
  const share = () => document.querySelector(`${selector} button`);
  const status = () => document.querySelector(`${selector} [role="status"]`);  // hidden, but read aloud, beside a video
  const stage = () => document.querySelector(`${selector} .stage`);
  const earlier = () => document.querySelector(`${selector} .earlier`);
  const about = () => document.querySelector(`${selector} .about`);  // what Gradio says of the newest film, of another one
  const addressOf = (value) => (value?.video ?? value)?.url;  // of Gradio's video
  const fileName = (address) => decodeURIComponent(address.split('/').pop());
  const root = () => (window.gradio_config?.root || location.href.split(/[?#]/)[0]).replace(/\/?$/, '/');
  const until = (target, event) => new Promise((done) => target.addEventListener(event, done, {once: true}));
  const pause = (seconds) => new Promise((done) => setTimeout(done, 1000 * seconds));

  function lead(player) {
    for (let i = 0; i < player.buffered.length; i++) {
      if (player.buffered.start(i) <= player.currentTime + 0.1 && player.buffered.end(i) > player.currentTime)
        return player.buffered.end(i) - player.currentTime;
    }
    return 0;
  }

  // Whether the film can play from here to its end without a stop, as fast as it has come so far.
  function mayPlay(player, stream) {
    const ahead = lead(player), since = (performance.now() - stream.begun) / 1000;
    if (stream.isWhole || ahead >= stream.seconds - player.currentTime - 0.1) return ahead > 0;
    if (ahead < LEAST_LEAD) return false;
    const speed = (stream.received - stream.first) / Math.max(since, 0.05);
    return since > 0.25 && (stream.seconds - stream.received) / Math.max(speed, 0.01) <= 0.85 * (stream.seconds - player.currentTime);
  }

  async function append(buffer, chunk, player, stream) {
    for (;;) {
      try {
        buffer.appendBuffer(chunk);
        break;
      } catch (error) {
        if (error.name !== 'QuotaExceededError') throw error;
        const first = buffer.buffered.length ? buffer.buffered.start(0) : 0;
        if (player.currentTime - KEPT > first) {
          buffer.remove(first, player.currentTime - KEPT);
          await until(buffer, 'updateend');
        } else await pause(1);
        if (film !== stream) return;
      }
    }
    if (buffer.updating) await until(buffer, 'updateend');
    if (buffer.buffered.length) stream.received = buffer.buffered.end(buffer.buffered.length - 1);
    if (stream.begun === null && stream.received) { stream.begun = performance.now(); stream.first = stream.received; }
  }

  // Plays as soon as it may, and waits for more where what has come is at its end.
  async function keepPlaying(player, stream) {
    let isWaiting = true;
    player.onwaiting = () => { if (film === stream && !stream.isWhole && lead(player) < LEAST_LEAD) { isWaiting = true; player.pause(); } };
    while (film === stream && !stream.isWhole) {
      if (isWaiting && stream.begun !== null && mayPlay(player, stream)) {
        isWaiting = false;
        player.play().catch(() => {});  // a browser may want a click first
      }
      await pause(0.05);
    }
    if (film === stream && isWaiting) player.play().catch(() => {});
    player.onwaiting = null;
  }

  // Plays the film of a stream while it is drawn; "" is none.
  async function play(address) {
    if (!address) return;
    clear();
    const [path, range] = address.split('#t=0,');
    if (!Source?.isTypeSupported(MIME)) {
      if (video().canPlayType(HLS)) playPlaylist(root() + path.replace(/mp4$/, 'm3u8'));
      return;  // else the finished film is played
    }
    const stream = film = {abort: new AbortController(), seconds: Number(range), begun: null, first: 0, received: 0};
    const player = video(), source = new Source();
    player.disableRemotePlayback = true;  // as ManagedMediaSource asks for
    player.src = URL.createObjectURL(source);
    player.hidden = false;
    await until(source, 'sourceopen');
    URL.revokeObjectURL(player.src);
    if (film !== stream) return;
    source.duration = stream.seconds;
    const buffer = source.addSourceBuffer(MIME);
    keepPlaying(player, stream);
    try {
      const answer = await fetch(root() + path, {signal: stream.abort.signal});
      if (!answer.ok) throw new Error(`status ${answer.status}`);
      const reader = answer.body.getReader();
      for (let part = await reader.read(); !part.done && film === stream; part = await reader.read())
        await append(buffer, part.value, player, stream);
      if (film !== stream) return;
      source.endOfStream();
      stream.isWhole = true;
    } catch (error) {
      if (film === stream) stream.isBroken = true;
      if (stream.finished) replace(stream);
      return;
    }
    stream.isEvicted = isManaged || (buffer.buffered.length > 0 && buffer.buffered.start(0) > 0.2);
    if (stream.finished) hold(stream);
  }

  // The browser loads the segments and waits for more by itself.
  function playPlaylist(address) {
    const player = video(), stream = film = {abort: new AbortController(), isWhole: true};
    player.src = address;
    player.hidden = false;
    player.addEventListener('error', () => {
      if (film !== stream) return;
      stream.isBroken = true;
      if (stream.finished) replace(stream);
    }, {once: true});
    player.play().catch(() => {});  // a browser may want a tap first
  }

  // The finished film in the place of the stream: at once where its data are no longer all there, else after its end.
  function hold(stream) {
    const player = video();
    if (stream.isEvicted) for (const event of ['seeking', 'waiting'])
      player.addEventListener(event, () => { if (film === stream && lead(player) === 0) replace(stream); });
    player.addEventListener('ended', () => { if (film === stream) replace(stream); }, {once: true});
    if (player.ended) replace(stream);
  }

  function replace(stream) {
    const player = video(), at = player.currentTime;
    // The browser pauses, too, where a playlist breaks off.
    const goesOn = !player.ended && (stream.isBroken || !stream.isWhole || !player.paused);
    film = null;
    player.onwaiting = null;
    player.addEventListener('loadedmetadata', () => { player.currentTime = at; if (goesOn) player.play().catch(() => {}); }, {once: true});
    player.src = stream.finished;
  }

  // Shows a film that was made: what the stream becomes that is playing, or another one.
  function finish(value, summary) {
    const address = addressOf(value);
    if (!address) { fail(); return; }
    if (!films.some((made) => made.address === address)) films.push({address, summary});
    newest = address;
    isMaking = false;
    describe(null);
    if (film) film.finished = address;
    else show(address);
    offer(address);
    if (film?.isBroken) replace(film);
    else if (film?.isWhole) hold(film);
  }

  // Shows the film of an example.
  function present(value) {
    show(addressOf(value));
    offer(addressOf(value));
    describe(EXAMPLE);
    reveal();
  }

  function showEarlier({address, summary}) {
    clear();
    show(address);
    offer(address);
    if (address !== newest) describe(summary);
  }

  // Puts a text in the place of the summary of the newest film; null puts that back.
  function describe(summary) {
    stage().classList.toggle('of-another', summary !== null);
    about().textContent = summary;
  }

  function show(address) {
    const player = video();
    player.hidden = false;
    player.onerror = () => { forget(address); };
    player.src = address;
    player.play().catch(() => {});
  }

  // What can be done with a finished film, and with those before it.
  function offer(address) {
    shown = address;
    status().textContent = READY;
    download().href = address;
    download().download = fileName(address);
    download().hidden = false;
    offerSharing(address);
    listEarlier();
  }

  function listEarlier() {
    const buttons = films.filter(({address}) => address !== shown).map((made) => {
      const button = document.createElement('button');
      button.type = 'button';
      button.textContent = `${films.indexOf(made) + 1} ${fileName(made.address).replace(/\.mp4$/, '')}`;
      button.title = made.summary;
      button.onclick = () => showEarlier(made);
      return button;
    });
    earlier().replaceChildren('Earlier videos: ', ...buttons);
    earlier().hidden = isMaking || !buttons.length;
  }

  // The demo deletes films after a while.
  function forget(address) {
    const index = films.findIndex((made) => made.address === address);
    if (index >= 0) films.splice(index, 1);
    clear();
    describe('');
    status().textContent = GONE;
    listEarlier();
  }

  // Phones give a film to other programs; it is fetched first, as they do so only right after a tap.
  async function offerSharing(address) {
    const isOffered = navigator.canShare?.({files: [new File([], download().download, {type: 'video/mp4'})]});
    if (!isOffered) return;
    const content = await (await fetch(address)).blob();
    if (download().href !== address || download().hidden) return;
    const file = new File([content], download().download, {type: 'video/mp4'});
    share().onclick = () => navigator.share({files: [file]}).catch(() => {});  // the visitor may think better of it
    share().hidden = false;
  }

  // There will be no film.
  function fail() {
    if (!isMaking) return;
    if (film) clear();
    status().textContent = WAITING;
    isMaking = false;
    listEarlier();
  }

  function clear() {
    film?.abort.abort();
    film = shown = null;
    const player = video();
    player.onwaiting = player.onerror = null;
    player.removeAttribute('src');
    player.load();
    player.hidden = true;
    download().hidden = share().hidden = true;
    describe(null);
  }

  // On a phone the player and its progress lie below the button and above the examples.
  function reveal() {
    for (const shown of [document.querySelector(`${selector}-summary`), stage()]) shown.scrollIntoView({block: 'nearest'});
  }

  // A film was asked for.
  function begin() {
    clear();
    isMaking = true;
    listEarlier();
    status().textContent = MAKING;
    stage().classList.add('used');
    spaceDropMessages();
    document.body.classList.remove('stopped');
    setTimeout(reveal, 500);
  }

  // Shows no more of a film that is not finished; a finished one stays. Gradio may take the end of what was stopped for
  // an error, which the style sheet then hides.
  function stop() {
    if (film && !film.finished) clear();
    if (isMaking) status().textContent = 'Stopped.';
    isMaking = false;
    listEarlier();
    document.body.classList.add('stopped');
  }

  return {play, finish, present, fail, clear, begin, stop};
})();
